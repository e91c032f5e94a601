# What Ansible does over SSH: a folder for each task, a module copied, run by Python with sudo, and removed.
. /usr/local/lib/ordinary/lib.sh
/usr/sbin/sshd -D &
sleep 1
options=(-o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ControlMaster=auto -o ControlPersist=20s -o ControlPath=/home/dev/.ssh/%r@%h)
ssh_to() { runuser -u dev -- ssh "${options[@]}" admin@127.0.0.1 "/bin/sh -c '$1'"; }
cat > /home/dev/AnsiballZ_setup.py <<'END'
import json, os, platform, pwd, socket, subprocess
facts = {"os": platform.uname()._asdict(), "users": [row.pw_name for row in pwd.getpwall()], "name": socket.gethostname()}
for path in ("/proc/cpuinfo", "/proc/meminfo", "/proc/mounts", "/etc/os-release", "/etc/resolv.conf", "/etc/fstab"):
    if os.path.exists(path):
        facts[path] = open(path).read()
for command in (["dpkg-query", "-W", "cron"], ["ip", "addr"], ["stat", "/etc/hosts"], ["systemctl", "--version"]):
    try:
        facts[command[0]] = subprocess.run(command, capture_output=True, text=True).stdout
    except OSError:
        pass
print(json.dumps(facts))
END
number=0
while :; do
    for task in setup copy file service user; do
        number=$((number + 1))
        folder="/home/admin/.ansible/tmp/ansible-tmp-$number"
        ssh_to 'echo ~admin && sleep 0' > /dev/null
        ssh_to "umask 77 && mkdir -p \"$folder\" && echo $folder" > /dev/null
        runuser -u dev -- scp -q "${options[@]}" /home/dev/AnsiballZ_setup.py "admin@127.0.0.1:$folder/AnsiballZ_$task.py"
        ssh_to "chmod u+x $folder $folder/AnsiballZ_$task.py && sleep 0"
        ssh_to "sudo -H -S -n -u root /bin/sh -c \"echo BECOME-SUCCESS ; /usr/bin/python3 $folder/AnsiballZ_$task.py\" && sleep 0" > /dev/null
        ssh_to "rm -f -r $folder > /dev/null 2>&1 && sleep 0"
        sleep 3
    done
    pause 70
done
