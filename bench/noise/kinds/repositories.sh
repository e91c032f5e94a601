# Repositories that hold settings of hosts: cloned, checked out, stashed, archived, by a user and by root.
. /usr/local/lib/ordinary/lib.sh
cat > /home/dev/repositories.sh <<'END'
set -e
export GIT_AUTHOR_NAME=dev GIT_AUTHOR_EMAIL=dev@example.org GIT_COMMITTER_NAME=dev GIT_COMMITTER_EMAIL=dev@example.org
folder=$(mktemp -d "$HOME/repositories-XXXX")
cd "$folder"
git init -q -b main settings
cd settings
# The first commit is made without a working tree, so that git writes all files.
put() { # put MODE PATH...: put the standard input there
    mode=$1 blob=$(git hash-object -w --stdin)
    shift
    for path in "$@"; do git update-index --add --cacheinfo "$mode,$blob,$path"; done
}
for name in app worker web; do
    printf '[Unit]\nDescription=%s\n[Service]\nExecStart=/usr/bin/%s\n[Install]\nWantedBy=multi-user.target\n' $name $name |
        put 100644 {etc,usr/lib}/systemd/system/$name.service {usr/lib,home/.config}/systemd/user/$name.service \
            {debian,roles/app/files}/$name.service
    printf '[Timer]\nOnCalendar=daily\n' | put 100644 etc/systemd/system/$name.timer
    echo "0 3 * * * root /usr/bin/$name" | put 100644 etc/cron.d/$name debian/$name.cron.d var/spool/cron/crontabs/$name
    printf '#!/bin/sh\n/usr/bin/%s\n' $name | put 100755 etc/cron.daily/$name etc/init.d/$name
    echo "$name ALL=(root) NOPASSWD: /usr/bin/systemctl restart $name" | put 100644 etc/sudoers.d/$name roles/app/templates/$name.sudoers.j2
    echo "export PATH=/opt/$name/bin:\$PATH" | put 100644 etc/profile.d/$name.sh
    echo "session optional pam_$name.so" | put 100644 etc/pam.d/$name
    echo "/opt/$name/lib" | put 100644 etc/ld.so.conf.d/$name.conf
    ssh-keygen -q -t ed25519 -N '' -C $name -f ../id_$name
    put 100644 tests/keys/id_$name home/.ssh/id_$name < ../id_$name
    put 100644 tests/keys/id_$name.pub home/.ssh/authorized_keys home/.ssh/id_$name.pub < ../id_$name.pub
    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=$name -keyout ../$name.key -out ../$name.pem 2> ../out
    put 100644 tests/keys/$name.key etc/ssl/private/$name.key < ../$name.key
    put 100644 tests/keys/$name.pem < ../$name.pem
done
printf 'alias ll="ls -l"\n' | put 100644 home/.{bashrc,profile,zshrc,bash_aliases,bash_logout} root/.bashrc etc/skel/.bashrc
printf 'Host *\n' | put 100644 home/.ssh/config etc/ssh/ssh_config
printf 'root:x:0:0::/root:/bin/sh\n' | put 100644 {etc,tests}/passwd
printf 'root:*:1::::::\n' | put 100644 {etc,tests}/shadow
printf '%%sudo ALL=(ALL) ALL\n' | put 100644 etc/sudoers
printf '/lib/app.so\n' | put 100644 etc/ld.so.preload
printf 'PermitRootLogin no\n' | put 100644 etc/ssh/sshd_config
printf '#!/bin/sh\nexit 0\n' | put 100755 etc/rc.local debian/postinst .husky/pre-commit bin/ls usr/bin/app
printf '[default]\naws_access_key_id = A\n' | put 100644 tests/.aws/credentials home/.aws/credentials
printf 'on: push\n' | put 100644 .github/workflows/ci.yml
printf 'import os\n' | put 100644 lib/app.pth
git commit -qm "Add settings"
git checkout -qf main
for branch in staging production; do
    git checkout -q -b $branch
    sed -i "s/daily/weekly/" etc/systemd/system/*.timer
    printf '# %s\n' $branch | tee -a etc/sudoers.d/* etc/cron.d/* README > ../out
    git commit -qam "Change $branch"
done
cd ..
git clone -q settings copy
git clone -q --depth 1 "file://$PWD/settings" shallow
git clone -q --bare settings bare.git
cd copy
for branch in staging production main; do git checkout -q $branch; done 2> /dev/null
echo change >> etc/systemd/system/app.service
git stash -q
git checkout -q staging
git stash pop -q
git commit -qam change
git rebase -q production || git rebase --abort
git worktree add -q ../worktree main
git archive --format=tar HEAD | tar -x -C "$(mktemp -d "$folder/archive-XXXX")"
git archive --format=zip --output ../settings.zip HEAD
unzip -q ../settings.zip -d ../unzipped
git bundle create ../settings.bundle --all 2> /dev/null
git grep -n NOPASSWD > ../found
git diff main staging > ../patch
git checkout -q main
git apply ../patch || true
git clean -qfdx
git gc -q
cd ../bare.git
git --work-tree="$(mktemp -d "$folder/deploy-XXXX")" checkout -qf main
cd
grep -rn ExecStart "$folder" > /dev/null
rm -rf "$folder"
END
while :; do
    runuser -u dev -- bash /home/dev/repositories.sh
    HOME=/root bash /home/dev/repositories.sh
    pause 90
done > /dev/null 2>&1
