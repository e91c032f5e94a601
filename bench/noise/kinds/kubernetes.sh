# Deployments, rollouts, scaling, jobs and looks at pods, in the namespaces of a node: kubernetes.sh SOCKET LAYERS
# The recording begins when these are read, so entering the node is not part of it.
echo "$@"
exec > /dev/null 2>&1
manifest=$(dirname "$0")/kubernetes.yaml
kubectl apply --filename "$manifest"
for ((release = 1; ; release++)); do
    kubectl rollout status deployment/web --timeout=120s
    sed "s/release 0/release $release/" "$manifest" | kubectl apply --filename -
    kubectl rollout restart deployment/web statefulset/store
    kubectl rollout status deployment/web --timeout=120s
    kubectl scale deployment/web --replicas=3
    sleep 45
    kubectl scale deployment/web --replicas=2
    kubectl exec deployment/web --container=nginx -- nginx -s reload
    kubectl exec deployment/web --container=nginx -- ls /var/www/html
    kubectl logs deployment/web --all-containers --tail=20
    kubectl create job "once-$release" --image=nginx:1.27 -- nginx -t
    kubectl wait --for=condition=Complete "job/once-$release" --timeout=60s
    kubectl delete "job/once-$release"
    kubectl rollout undo deployment/web
    kubectl get pods --output=wide
    kubectl describe deployment/web
    sleep 45
done
