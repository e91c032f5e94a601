# RPM packages with scriptlets, installed by rpm and dnf on a host and below a root directory.
. /usr/local/lib/ordinary/lib.sh
mkdir -p /srv/rpmbuild
cd /srv/rpmbuild || exit
for version in 1 2; do
    printf '[Service]\nExecStart=/opt/service/bin/service\n[Install]\nWantedBy=multi-user.target\n' > service.service
    printf '#!/bin/sh\nexec sleep 60\n' > service
    printf 'Name: service\nVersion: %s\nRelease: 1\nSummary: A service\nLicense: MIT\nAutoReqProv: no\nBuildArch: noarch\n%%description\nA service.\n%%install\ninstall -D -m 755 %%{_sourcedir}/service %%{buildroot}/opt/service/bin/service\ninstall -D %%{_sourcedir}/service.service %%{buildroot}/usr/lib/systemd/system/service.service\ninstall -D /dev/null %%{buildroot}/etc/cron.d/service\ninstall -D /dev/null %%{buildroot}/etc/profile.d/service.sh\ninstall -D -m 440 /dev/null %%{buildroot}/etc/sudoers.d/service\n%%pre\ngetent group service || groupadd -r service\ngetent passwd service || useradd -r -g service -d /var/lib/service -s /usr/sbin/nologin service\n%%post\nif [ -d /run/systemd/system ]; then systemctl daemon-reload; fi\nldconfig\n%%postun\nif [ $1 = 0 ]; then userdel service; fi\n%%files\n/opt/service\n/usr/lib/systemd/system/service.service\n%%config /etc/cron.d/service\n%%config /etc/profile.d/service.sh\n%%config /etc/sudoers.d/service\n' $version > service.spec
    rpmbuild -bb --define "_topdir $PWD" --define "_sourcedir $PWD" service.spec > /dev/null 2>&1
done
mkdir -p /srv/rpm
cp RPMS/noarch/*.rpm /srv/rpm
createrepo_c -q /srv/rpm
while :; do
    rpm -i --nodeps --ignoreos /srv/rpm/service-1*.rpm
    rpm -qa
    rpm -V service
    rpm -U --nodeps /srv/rpm/service-2*.rpm
    rpm -e --nodeps service
    dnf -y --releasever=1 install service-1
    dnf -y --releasever=1 upgrade service
    dnf -y --releasever=1 remove service
    dnf -y --releasever=1 --installroot=/srv/rpm-root install service
    rpm --root /srv/rpm-root -qa
    rpm2cpio /srv/rpm/service-2*.rpm > service.cpio
    dnf clean all
    rm -rf /srv/rpm-root
    pause 60
done > /dev/null 2>&1
