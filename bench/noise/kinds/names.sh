# names: clients that look names up and connect to them, with and without TLS: curl, apt, pip, git, Node.js, Python.
. /usr/local/lib/ordinary/lib.sh
for host in 1 2 3 4 5 6; do ip address add "198.51.100.$host/32" dev lo; done
work=/srv/names
mkdir -p "$work/www/python/tool"
echo 'nameserver 127.0.0.1' > "$work/resolv.conf"
mount --bind "$work/resolv.conf" /etc/resolv.conf
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=example.com -keyout "$work/pair.pem" -out "$work/cert.pem"
cat "$work/cert.pem" >> "$work/pair.pem"
cp -r /srv/packages "$work/www/debian"
git init --quiet "$work/hello"
git -C "$work/hello" -c user.name=x -c user.email=x@example.com commit --quiet --allow-empty -m first
git clone --quiet --bare "$work/hello" "$work/www/hello.git"
git -C "$work/www/hello.git" update-server-info
python3 /usr/local/lib/ordinary/name_server.py "$work/www" "$work/pair.pem" > /dev/null 2>&1 &
sleep 2
echo 'deb [trusted=yes] http://deb.example.com/debian ./' > "$work/sources.list"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
while :; do
    curl -s -o /dev/null http://www.example.com/
    curl -s -k -o /dev/null https://api.example.com/debian/Packages
    apt-get -o Dir::Etc::SourceList="$work/sources.list" -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" \
        update
    runuser -u dev -- git clone --quiet http://git.example.com/hello.git "/tmp/hello-$RANDOM"
    runuser -u dev -- python3 -c 'import urllib.request; urllib.request.urlopen("http://www.example.com/").read()'
    runuser -u dev -- node -e 'require("http").get("http://modules.example.com/", (answer) => answer.resume())'
    python3 -m pip download --quiet --index-url http://packages.example.com/python --trusted-host packages.example.com tool
    getent hosts missing.example.com
    getent hosts 198.51.100.1
    pause 10
done > /dev/null 2>&1
