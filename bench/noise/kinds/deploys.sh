# A web application on a host with systemd: releases, virtual environments, migrations, restarts, certificates, log rotation.
. /usr/local/lib/ordinary/lib.sh
mkdir -p /srv/deploys
cat > /srv/deploys/app.py <<'END'
import sqlite3
from flask import Flask
app = Flask(__name__)
@app.route("/")
def index():
    with sqlite3.connect("/srv/web/shared/app.db") as database:
        return str(database.execute("select count(*) from visits").fetchone())
END
cat > /srv/deploys/migrate.py <<'END'
import sqlite3, sys
with sqlite3.connect("/srv/web/shared/app.db") as database:
    database.execute("create table if not exists visits (at text)")
    database.execute("insert into visits values (datetime())")
    database.execute(f"create table if not exists release_{int(sys.argv[1])} (n int)")
END
printf '[project]\nname = "app"\nversion = "1"\n[tool.setuptools]\npy-modules = ["app", "migrate"]\n' > /srv/deploys/pyproject.toml
cat > /srv/deploys.sh <<'END'
export LC_ALL=C.UTF-8 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
pause() { sleep "$((${1:-10} + RANDOM % 5))"; }
as_deploy() { runuser -u deploy -- env HOME=/srv/web "$@"; }
install -d -o deploy -g deploy /srv/web/releases /srv/web/shared /srv/web/shared/log
for ((release = 1; ; release++)); do
    folder=/srv/web/releases/$release
    as_deploy mkdir -p $folder
    tar -C /srv/deploys -czf /tmp/release.tar.gz app.py migrate.py pyproject.toml
    as_deploy tar -C $folder -xzf /tmp/release.tar.gz
    as_deploy python3 -m venv --system-site-packages $folder/venv
    as_deploy $folder/venv/bin/pip install -q --no-index --no-build-isolation $folder
    printf 'SECRET_KEY=%s\n' "$(openssl rand -base64 24)" > /srv/web/shared/env.new
    chmod 600 /srv/web/shared/env.new
    chown deploy: /srv/web/shared/env.new
    mv /srv/web/shared/env.new /srv/web/shared/env
    as_deploy sh -c "sqlite3 /srv/web/shared/app.db .dump > /srv/web/shared/backup.sql; cd $folder && venv/bin/python migrate.py $release"
    as_deploy ln -sfn $folder /srv/web/current
    systemctl enable --now web worker tidy.timer
    systemctl restart web worker
    systemctl status web --no-pager
    # A certificate of the service's own authority, renewed.
    mkdir -p /etc/ssl/web
    openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=example.org -keyout /etc/ssl/web/key.pem.new -out /etc/ssl/web/cert.pem
    chmod 600 /etc/ssl/web/key.pem.new && mv /etc/ssl/web/key.pem.new /etc/ssl/web/key.pem
    printf 'upstream app { server 127.0.0.1:8000; }\nserver { listen 443 ssl; ssl_certificate /etc/ssl/web/cert.pem; ssl_certificate_key /etc/ssl/web/key.pem; location / { proxy_pass http://app; } }\n' > /etc/nginx/conf.d/web.conf
    nginx -t && systemctl reload nginx || systemctl restart nginx
    for number in 1 2 3 4 5; do curl -sk https://127.0.0.1/; done
    systemctl reload web
    logrotate --force /etc/logrotate.d/web
    journalctl -u web -n 20 --no-pager
    systemctl list-timers --no-pager
    pause 20
    systemctl show web -p MainPID
    ls -1t /srv/web/releases | tail -n +3 | sed 's,^,/srv/web/releases/,' | as_deploy xargs -r rm -rf
    pause 20
done > /dev/null 2>&1
END
boot deploys
