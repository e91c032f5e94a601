# What runners of CI jobs do: scripts and hidden folders of jobs, Debian and RPM packages, signatures.
. /usr/local/lib/ordinary/lib.sh
mkdir -p /srv/site
(cd /srv/site && exec python3 -m http.server 8000) > /dev/null 2>&1 &
cat > /var/lib/runner/job.sh <<'END'
set -e
number=$1
umask 22
export CI=true GNUPGHOME=$HOME/.gnupg-$number CI_PROJECT_DIR=$HOME/builds/$number/app
mkdir -p "$CI_PROJECT_DIR" "$HOME/.cache/app" "$HOME/builds/$number/app.tmp"
cd "$CI_PROJECT_DIR"
# Secrets come as variables and become files.
openssl rand -base64 64 | base64 -w0 > "../app.tmp/SECRET"
base64 -d "../app.tmp/SECRET" | base64 -d > "../app.tmp/key"
chmod 600 "../app.tmp/key"
eval "$(ssh-agent -s)" > /dev/null
ssh-keygen -q -t ed25519 -N '' -f "../app.tmp/deploy"
ssh-add -q "../app.tmp/deploy" 2> /dev/null
mkdir -p ~/.ssh && chmod 700 ~/.ssh
ssh-keyscan -T 1 127.0.0.1 >> ~/.ssh/known_hosts 2> /dev/null || true
mkdir -p src debian/source
printf '#include <stdio.h>\nint main(void) { puts("app"); return 0; }\n' > src/main.c
printf 'all:\n\tgcc -O1 -o app src/main.c\ninstall:\n\tinstall -D app $(DESTDIR)/usr/bin/app\nclean:\n\trm -f app\n' > Makefile
printf '#!/usr/bin/make -f\n%%:\n\tdh $@\n' > debian/rules
chmod +x debian/rules
printf 'Source: app\nSection: misc\nPriority: optional\nMaintainer: Dev <dev@example.org>\nStandards-Version: 4.6.2\nBuild-Depends: debhelper-compat (= 13)\n\nPackage: app\nArchitecture: any\nDescription: An application\n A program.\n' > debian/control
printf 'app (1.%s) unstable; urgency=low\n\n  * Build.\n\n -- Dev <dev@example.org>  Mon, 01 Sep 2025 12:00:00 +0000\n' "$number" > debian/changelog
echo '3.0 (native)' > debian/source/format
printf '[Unit]\nDescription=App\n[Service]\nExecStart=/usr/bin/app\n[Install]\nWantedBy=multi-user.target\n' > debian/app.service
echo '0 4 * * * root test -x /usr/bin/app && app' > debian/app.cron.d
printf '/var/log/app/*.log {\n  copytruncate\n}\n' > debian/app.logrotate
dpkg-buildpackage -us -uc -b -d
mkdir -p SPECS
printf 'Name: app\nVersion: 1.%s\nRelease: 1\nSummary: An application\nLicense: MIT\n%%description\nAn application.\n%%install\ninstall -D %%{_sourcedir}/app %%{buildroot}/usr/bin/app\n%%post\ntouch /var/lib/app.installed\n%%files\n/usr/bin/app\n' "$number" > SPECS/app.spec
make
rpmbuild -bb --define "_topdir $PWD/rpm" --define "_sourcedir $PWD" SPECS/app.spec
mkdir -m 700 -p "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key "Dev <dev@example.org>" ed25519 sign never
gpg --batch --armor --detach-sign --output ../app.asc ../app_*.deb
gpg --batch --verify ../app.asc ../app_*.deb
gpg --batch --export --armor > ../app.tmp/public.asc
gpgconf --kill all
python3 -m venv --system-site-packages ../venv
../venv/bin/python -m unittest discover || true
tar -czf "../artifacts.tar.gz" -C .. $(cd .. && ls -- *.deb)
sha256sum ../*.deb ../artifacts.tar.gz > ../SHA256SUMS
curl -sS -T ../artifacts.tar.gz http://127.0.0.1:8000/artifacts.tar.gz > /dev/null || true
zip -qr "$HOME/.cache/app/cache-$number.zip" rpm
cp -p app "$HOME/.cache/app/"
strip app
./app
(cd /tmp && "$CI_PROJECT_DIR/app")
kill "$SSH_AGENT_PID"
END
for ((number = 1; ; number++)); do
    mkdir -p /var/lib/runner/_temp
    script=$(mktemp /var/lib/runner/_temp/XXXXXX.sh)
    cat /var/lib/runner/job.sh > "$script"
    chown runner "$script"
    runuser -u runner -- env HOME=/var/lib/runner bash "$script" "$number"
    rm -f "$script"
    # The package is tried out, and the runner's folder removed, as between jobs.
    apt-get install -y "/var/lib/runner/builds/$number"/app_*.deb
    app
    apt-get purge -y app
    rm -rf /var/lib/runner/builds "/var/lib/runner/.gnupg-$number"
    pause 60
done > /dev/null 2>&1
