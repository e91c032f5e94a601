{{- define "lanner.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select pods: (list $ COMPONENT) */}}
{{- define "lanner.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object: (list $ COMPONENT) */}}
{{- define "lanner.labels" -}}
{{- $root := index . 0 -}}
{{ include "lanner.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The image of a stage: (list $ STAGE) */}}
{{- define "lanner.image" -}}
{{- $root := index . 0 -}}
{{- $image := $root.Values.image -}}
{{- printf "%s%s:%s" $image.registry (index $image.names (index . 1)) ($image.tag | default $root.Chart.AppVersion) | quote -}}
{{- end -}}

{{/* What all pods have in common: (list $ COMPONENT) */}}
{{- define "lanner.pod" -}}
{{- $root := index . 0 -}}
serviceAccountName: {{ include "lanner.fullname" $root }}-{{ index . 1 }}
automountServiceAccountToken: {{ eq (index . 1) "kubernetes" }}
enableServiceLinks: false
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where pods are scheduled: (list $ VALUES), the latter a stage's */}}
{{- define "lanner.scheduling" -}}
{{- $nodes := dict -}}
{{- with (index . 0).Values.image.architectures }}{{ if eq (len .) 1 }}{{ $nodes = dict "kubernetes.io/arch" (first .) }}{{ end }}{{ end -}}
{{- with index . 1 }}{{ $nodes = merge (dict) (.nodeSelector | default dict) $nodes }}{{ end -}}
{{- with $nodes }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with index . 1 }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Security context of pods without privileges */}}
{{- define "lanner.unprivileged.pod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "lanner.unprivileged.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "lanner.probes" -}}
livenessProbe:
  httpGet: {path: /livez, port: http}
  initialDelaySeconds: 15
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 4
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

{{- define "lanner.kafka.servers" -}}
{{- if .Values.trialKafka.enabled -}}
{{ include "lanner.fullname" . }}-kafka.{{ .Release.Namespace }}.svc:9092
{{- else -}}
{{ required "kafka.bootstrapServers is required, unless trialKafka.enabled is true" .Values.kafka.bootstrapServers }}
{{- end -}}
{{- end -}}

{{- define "lanner.kafka.protocol" -}}
{{ ternary "sasl_plaintext" .Values.kafka.securityProtocol .Values.trialKafka.enabled }}
{{- end -}}

{{/* The Secret of a user of Kafka: (list $ PART) */}}
{{- define "lanner.kafka.secret" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.trialKafka.enabled -}}
{{ include "lanner.fullname" $root }}-kafka-{{ index . 1 }}
{{- else -}}
{{ (index $root.Values.kafka.users (index . 1)).secret }}
{{- end -}}
{{- end -}}

{{/* The name of a user of Kafka: (list $ PART) */}}
{{- define "lanner.kafka.user" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- if $root.Values.trialKafka.enabled -}}
{{ ternary "admin" (printf "lanner-%s" $part) (eq $part "admin") }}
{{- else -}}
{{ (index $root.Values.kafka.users $part).name }}
{{- end -}}
{{- end -}}

{{/* Lanner's settings: those of the chart take precedence over `settings`. */}}
{{- define "lanner.settings" -}}
{{- $protocol := include "lanner.kafka.protocol" . -}}
{{- $kafka := dict
  "bootstrap_servers" (include "lanner.kafka.servers" .)
  "prefix" (ternary "lanner." .Values.kafka.prefix .Values.trialKafka.enabled)
  "security_protocol" $protocol -}}
{{- if hasPrefix "sasl_" $protocol -}}
{{- $_ := set $kafka "sasl_mechanism" (ternary "plain" .Values.kafka.saslMechanism .Values.trialKafka.enabled) -}}
{{- $_ := set $kafka "password_file" "/run/lanner/kafka/password" -}}
{{- end -}}
{{- if eq $protocol "ssl" -}}
{{- $_ := set $kafka "certificate_file" "/run/lanner/kafka/tls.crt" -}}
{{- $_ := set $kafka "key_file" "/run/lanner/kafka/tls.key" -}}
{{- end -}}
{{- if and .Values.kafka.caSecret (has $protocol (list "ssl" "sasl_ssl")) -}}
{{- $_ := set $kafka "ca_file" "/run/lanner/ca/ca.crt" -}}
{{- end -}}
{{- $settings := mustMergeOverwrite (dict "log_format" "json") (deepCopy .Values.settings) (dict "kafka" $kafka) -}}
{{ toYaml $settings }}
{{- end -}}

{{/* Annotations that replace pods when their settings change: (list $ POD_ANNOTATIONS) */}}
{{- define "lanner.annotations" -}}
{{- $root := index . 0 -}}
checksum/settings: {{ include "lanner.settings" $root | sha256sum }}
{{- if not $root.Values.rules.publish.enabled }}
checksum/rules: {{ toYaml $root.Values.rules.files | sha256sum }}
{{- end }}
{{- with index . 1 }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Environment of a stage: (list $ PART) */}}
{{- define "lanner.env" -}}
{{- $root := index . 0 -}}
- {name: LANNER_CONFIG, value: /etc/lanner/settings/lanner.yaml}
{{- if hasPrefix "sasl_" (include "lanner.kafka.protocol" $root) }}
- {name: LANNER__KAFKA__USERNAME, value: {{ include "lanner.kafka.user" . | quote }}}
{{- end }}
{{- end -}}

{{/* Mounts of a stage: settings, own rules, and what it needs to connect to Kafka */}}
{{- define "lanner.mounts" -}}
- {name: settings, mountPath: /etc/lanner/settings, readOnly: true}
- {name: rules, mountPath: /etc/lanner/rules.d, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- $protocol := include "lanner.kafka.protocol" . }}
{{- if ne $protocol "plaintext" }}
- {name: kafka, mountPath: /run/lanner/kafka, readOnly: true}
{{- end }}
{{- if and .Values.kafka.caSecret (has $protocol (list "ssl" "sasl_ssl")) }}
- {name: ca, mountPath: /run/lanner/ca, readOnly: true}
{{- end }}
{{- end -}}

{{/* Volumes for these mounts: (list $ PART) */}}
{{- define "lanner.volumes" -}}
{{- $root := index . 0 -}}
{{- $name := include "lanner.fullname" $root -}}
- {name: settings, configMap: {name: {{ $name }}-settings}}
- {name: rules, configMap: {name: {{ $name }}-rules}}
- {name: tmp, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
{{- $protocol := include "lanner.kafka.protocol" $root }}
{{- if ne $protocol "plaintext" }}
- {name: kafka, secret: {secretName: {{ include "lanner.kafka.secret" . | quote }}, defaultMode: 0440}}
{{- end }}
{{- if and $root.Values.kafka.caSecret (has $protocol (list "ssl" "sasl_ssl")) }}
- name: ca
  secret:
    secretName: {{ $root.Values.kafka.caSecret | quote }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end -}}

{{/* A sink's name as part of names of objects */}}
{{- define "lanner.sink" -}}
{{ . | replace "." "-" | replace "_" "-" }}
{{- end -}}

{{/* Names of the components that exist, as a list in JSON */}}
{{- define "lanner.components" -}}
{{- $names := list -}}
{{- if .Values.collector.enabled }}{{ $names = append $names "collector" }}{{ end -}}
{{- if .Values.processor.enabled }}{{ $names = append $names "processor" }}{{ end -}}
{{- range .Values.notifiers }}{{ if .enabled }}{{ $names = append $names "notifier" }}{{ end }}{{ end -}}
{{- if .Values.console.enabled }}{{ $names = append $names "console" }}{{ end -}}
{{- if .Values.archive.enabled }}{{ $names = append $names "archive" }}{{ end -}}
{{- if .Values.kubernetes.enabled }}{{ $names = append $names "kubernetes" }}{{ end -}}
{{- if .Values.audit.enabled }}{{ $names = append $names "audit" }}{{ end -}}
{{- if or .Values.trialKafka.enabled .Values.kafka.topics.create }}{{ $names = append $names "topics" }}{{ end -}}
{{- if .Values.rules.publish.enabled }}{{ $names = append $names "publisher" }}{{ end -}}
{{- if .Values.trialKafka.enabled }}{{ $names = append $names "kafka" }}{{ end -}}
{{ $names | uniq | toJson }}
{{- end -}}
