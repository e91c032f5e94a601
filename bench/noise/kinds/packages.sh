# apt from a local repository: update, install, upgrade, remove, with maintainer scripts and triggers.
. /usr/local/lib/ordinary/lib.sh
while :; do
    apt-get update
    apt-get install -y hello tree figlet
    hello
    apt-get install -y --reinstall less nginx-light
    apt-get -y upgrade
    apt-get remove -y hello figlet
    apt-get purge -y tree
    apt-get -y autoremove
    apt-cache policy cron
    dpkg -l
    dpkg --verify cron
    pause 150
done > /dev/null 2>&1
