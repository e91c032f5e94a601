# Configuration management on a host with systemd, which starts whole runs of Ansible and Puppet.
. /usr/local/lib/ordinary/lib.sh
mkdir -p /srv/management/files
cat > /srv/management/site.yml <<'END'
- hosts: all
  connection: local
  gather_facts: true
  tasks:
    - group: {name: app, system: true}
    - user: {name: app, group: app, home: /var/lib/app, system: true, shell: /usr/sbin/nologin}
    - user: {name: operator, groups: [sudo], append: true, shell: /bin/bash, password: "$6$salt$hash", generate_ssh_key: true, ssh_key_type: ed25519}
    - file: {path: /home/operator/.config/app, state: directory, owner: operator, mode: "0700"}
    - lineinfile: {path: /home/operator/.bashrc, line: "export EDITOR=vim", owner: operator, create: true}
    - blockinfile: {path: /home/operator/.profile, block: "umask 027", create: true, owner: operator}
    - copy: {content: "ssh-ed25519 AAAA operator\n", dest: /home/operator/.ssh/authorized_keys, owner: operator, mode: "0600"}
    - copy: {content: "operator ALL=(ALL) NOPASSWD: /usr/bin/systemctl\n", dest: /etc/sudoers.d/operator, mode: "0440", validate: "visudo -cf %s"}
    - copy: {content: "net.ipv4.ip_forward = 0\n", dest: /etc/sysctl.d/90-app.conf}
    - copy: {content: "app soft nofile 4096\n", dest: /etc/security/limits.d/app.conf}
    - copy: {content: "export APP=/srv/app\n", dest: /etc/profile.d/app.sh}
    - lineinfile: {path: /etc/ssh/sshd_config, regexp: "^#?X11Forwarding", line: "X11Forwarding no", validate: "sshd -t -f %s"}
    - lineinfile: {path: /etc/hosts, line: "127.0.0.2 app.example.org"}
    - known_hosts: {name: example.org, key: "example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJc+9zFpA0uVJo7bFqE9fNnJqXw0B9yqv9sDkYw0mZ1s"}
      ignore_errors: true
    - apt: {name: [hello, tree], state: present, update_cache: true, lock_timeout: 120}
    - copy: {src: app.service, dest: /etc/systemd/system/app.service}
      notify: restart
    - template: {src: app.conf.j2, dest: /etc/app.conf, backup: true}
      notify: restart
    - systemd: {name: app, enabled: true, state: started, daemon_reload: true}
    - service: {name: nginx, state: reloaded}
    - cron: {name: report, minute: "5", job: "/usr/bin/true", user: root}
    - cron: {name: app, cron_file: app, minute: "7", job: "/usr/bin/true", user: app}
    - copy: {content: "/var/log/managed.log {\n  size 1\n  copytruncate\n  rotate 2\n}\n", dest: /etc/logrotate.d/managed}
    - iptables: {chain: INPUT, protocol: tcp, destination_port: "8080", jump: ACCEPT}
    - unarchive: {src: app.tar.gz, dest: /opt}
    - git: {repo: /srv/management/repository, dest: /opt/checkout, version: main}
    - get_url: {url: "file:///srv/management/app.conf.j2", dest: /opt/app.conf, checksum: "sha256:{{ lookup('file', 'app.conf.j2', rstrip=false) | hash('sha256') }}"}
    - find: {paths: [/var/log, /home], patterns: "*.log", age: 30d}
    - shell: "openssl rand -hex 16 > /opt/secret && chmod 600 /opt/secret"
      args: {creates: /opt/secret}
    - uri: {url: "http://127.0.0.1/"}
      ignore_errors: true
    - wait_for: {port: 80, timeout: 5}
      ignore_errors: true
  handlers:
    - name: restart
      systemd: {name: app, state: restarted, daemon_reload: true}
END
cat > /srv/management/remove.yml <<'END'
- hosts: all
  connection: local
  tasks:
    - systemd: {name: app, state: stopped, enabled: false}
    - file: {path: "{{ item }}", state: absent}
      loop: [/etc/systemd/system/app.service, /etc/sudoers.d/operator, /etc/cron.d/app, /etc/app.conf, /opt/checkout, /opt/secret, /etc/profile.d/app.sh]
    - cron: {name: report, state: absent, user: root}
    - user: {name: operator, state: absent, remove: true}
    - user: {name: app, state: absent}
    - apt: {name: [hello, tree], state: absent, lock_timeout: 120}
END
cat > /srv/management/site.pp <<'END'
Package { provider => apt }
group { 'puppetapp': ensure => present, system => true }
user { 'worker': ensure => present, gid => 'puppetapp', home => '/home/worker', managehome => true, shell => '/bin/bash' }
file { '/etc/sudoers.d/worker': content => "worker ALL=(ALL) NOPASSWD: /usr/bin/true\n", mode => '0440' }
file { '/etc/systemd/system/managed.service': content => "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n", notify => Service['managed'] }
service { 'managed': ensure => running, enable => true }
cron { 'managed': command => '/usr/bin/true', user => 'root', minute => 9 }
package { 'figlet': ensure => installed }
exec { '/usr/bin/touch /var/lib/managed': creates => '/var/lib/managed' }
file { '/home/worker/.bash_profile': content => "umask 027\n", owner => 'worker' }
ssh_authorized_key { 'worker': user => 'worker', type => 'ssh-ed25519', key => 'AAAA' }
host { 'managed.example.org': ip => '127.0.0.3' }
END
cat > /srv/management/remove.pp <<'END'
service { 'managed': ensure => stopped, enable => false }
cron { 'managed': ensure => absent }
package { 'figlet': ensure => absent, provider => apt }
user { 'worker': ensure => absent, managehome => true }
file { ['/etc/systemd/system/managed.service', '/etc/sudoers.d/worker']: ensure => absent }
END
printf '[Unit]\nDescription=App\n[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n' > /srv/management/app.service
echo 'name = {{ ansible_hostname }}' > /srv/management/app.conf.j2
tar -C /srv/management -czf /srv/management/app.tar.gz app.service
git init -q -b main /srv/management/repository
git -C /srv/management/repository -c user.name=dev -c user.email=dev@example.org commit -q --allow-empty -m Start
cat > /srv/management.sh <<'END'
cd /srv/management
export LC_ALL=C.UTF-8 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
pause() { sleep "$((${1:-10} + RANDOM % 5))"; }
while :; do
    systemctl start puppet@site
    systemctl start ansible@site
    echo line >> /var/log/managed.log
    logrotate --force /etc/logrotate.d/managed
    systemctl start puppet@site
    systemctl start puppet@remove
    systemctl start ansible@site
    systemctl start ansible@remove
    pause 20
done > /dev/null 2>&1
END
boot management
