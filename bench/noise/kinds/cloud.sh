# A cloud's instance: cloud-init with a metadata service, users, keys and files, and an agent that renews credentials.
. /usr/local/lib/ordinary/lib.sh
ip address add 169.254.169.254/32 dev lo
mount -t tmpfs tmpfs /etc/cloud/cloud.cfg.d
mkdir -p /var/lib/cloud
cat > /usr/local/lib/metadata.py <<'END'
import http.server
KEY = open("/home/dev/.ssh/id_ed25519.pub").read()
LEAVES = {
    "meta-data/instance-id": "i-0", "meta-data/hostname": "example", "meta-data/local-hostname": "example",
    "meta-data/ami-id": "ami-0", "meta-data/instance-type": "small", "meta-data/local-ipv4": "127.0.0.1",
    "meta-data/placement/availability-zone": "zone-1a", "meta-data/public-keys/0/openssh-key": KEY,
    "meta-data/iam/security-credentials/role": '{"AccessKeyId": "A", "SecretAccessKey": "s", "Token": "t"}',
    "api/token": "token", "dynamic/instance-identity/document": '{"region": "zone-1"}',
    "user-data": """#cloud-config
users:
  - default
  - {name: operator, groups: [sudo], shell: /bin/bash, sudo: "ALL=(ALL) NOPASSWD:ALL", ssh_authorized_keys: ["%s"]}
chpasswd: {expire: false, users: [{name: operator, password: a long passphrase, type: text}]}
write_files:
  - {path: /etc/cron.d/agent, content: "*/5 * * * * root /usr/bin/true\\n"}
  - {path: /etc/systemd/system/agent.service, content: "[Service]\\nExecStart=/usr/bin/true\\n"}
  - {path: /etc/profile.d/agent.sh, content: "export AGENT=1\\n"}
  - {path: /usr/local/bin/agent, encoding: b64, permissions: "0755", content: IyEvYmluL3NoCmV4aXQgMAo=}
packages: [hello]
runcmd:
  - [/usr/local/bin/agent]
  - echo done > /var/lib/agent.done
  - curl -s http://169.254.169.254/latest/meta-data/instance-id > /var/lib/agent.id
""" % KEY.strip(),
}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0].strip("/").partition("/")[2]
        below = sorted({key[len(path) + 1:].partition("/")[0] + "/" * (key.count("/") > path.count("/") + 1) for key in LEAVES if key.startswith(path + "/")})
        text = LEAVES.get(path) or "\n".join("0=key" if path.endswith("public-keys") else each for each in below)
        self.send_response(200 if text else 404)
        self.end_headers()
        self.wfile.write(text.encode())
    do_PUT = do_GET
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("169.254.169.254", 80), Handler).serve_forever()
END
python3 /usr/local/lib/metadata.py > /dev/null 2>&1 &
cat > /etc/cloud/cloud.cfg.d/90-example.cfg <<'END'
datasource_list: [Ec2]
datasource: {Ec2: {strict_id: false, metadata_urls: ["http://169.254.169.254"], timeout: 5}}
network: {config: disabled}
preserve_hostname: true
system_info: {default_user: {name: guest}}
cloud_init_modules: [migrator, bootcmd, write-files, update_etc_hosts, ca-certs, rsyslog, users-groups, ssh]
cloud_config_modules: [ssh-import-id, set-passwords, package-update-upgrade-install, runcmd]
cloud_final_modules: [scripts-vendor, scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, ssh-authkey-fingerprints, final-message]
END
sleep 2
cat > /usr/local/bin/cloud-agent <<'END'
#!/usr/bin/python3
import json, os, urllib.request
base = "http://169.254.169.254/latest/"
token = urllib.request.urlopen(urllib.request.Request(base + "api/token", method="PUT")).read().decode()
def get(path):
    return urllib.request.urlopen(urllib.request.Request(base + path, headers={"X-aws-ec2-metadata-token": token})).read()
os.makedirs("/var/lib/cloud-agent", mode=0o700, exist_ok=True)
with open("/var/lib/cloud-agent/credentials.json", "wb") as file:
    file.write(get("meta-data/iam/security-credentials/role"))
json.loads(get("dynamic/instance-identity/document"))
END
chmod 755 /usr/local/bin/cloud-agent
cat > /srv/cloud.sh <<'END'
export LC_ALL=C.UTF-8 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
while :; do
    systemctl start instance
    systemctl start instance@config instance@final
    cloud-init status --long
    cloud-init query instance_id
    for number in 1 2 3; do
        /usr/local/bin/cloud-agent
        sleep 15
    done
    cloud-init clean
    sleep 30
done > /dev/null 2>&1
END
boot cloud
