# git, make and gcc, in a user's home.
. /usr/local/lib/ordinary/lib.sh
cat > /home/dev/build.sh <<'END'
set -e
cd "$(mktemp -d "$HOME/build-XXXX")"
git init -q --bare origin.git
git clone -q origin.git project 2> /dev/null
cd project
printf 'all: program\nprogram: main.o other.o\n\tgcc -o $@ $^\n%%.o: %%.c\n\tgcc -O1 -c -o $@ $<\ninstall: program\n\tinstall -D program $(DESTDIR)/usr/bin/program\nclean:\n\trm -f program *.o\n' > Makefile
printf '#include <stdio.h>\nint other(void);\nint main(void) { printf("%%d\\n", other()); return 0; }\n' > main.c
for number in 1 2 3; do
    printf 'int other(void) { return %s; }\n' "$number" > other.c
    make -s -j2
    ./program > output
    git add -A
    git -c user.name=dev -c user.email=dev@example.org commit -qm "Return $number"
    sleep 2
done
make -s install DESTDIR="$HOME/installed"
make -s clean
git push -q origin HEAD:main
git log --stat > /dev/null
git checkout -q -b topic && git -c user.name=dev -c user.email=dev@example.org commit -q --amend -m topic
git gc -q
grep -rn return . > /dev/null
cd && rm -rf build-*
END
while :; do
    runuser -u dev -- bash /home/dev/build.sh
    pause 80
done
