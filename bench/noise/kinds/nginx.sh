# nginx: requests, a reload after a changed site, logs reopened.
. /usr/local/lib/ordinary/lib.sh
nginx
while :; do
    for number in 1 2 3 4 5 6; do
        curl -s -o /dev/null http://127.0.0.1/
        curl -s -o /dev/null "http://127.0.0.1/missing-$number"
        sleep 1
    done
    echo "<p>$(date)</p>" > /var/www/html/page.html
    printf 'server { listen 8081; root /var/www/html; }\n' > /etc/nginx/conf.d/site.conf
    nginx -t && nginx -s reload
    mv /var/log/nginx/access.log /var/log/nginx/access.log.1
    nginx -s reopen
    pause 30
done > /dev/null 2>&1
