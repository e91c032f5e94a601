# pip and npm from local folders, in a user's home.
. /usr/local/lib/ordinary/lib.sh
cat > /home/dev/languages.sh <<'END'
cd "$(mktemp -d "$HOME/languages-XXXX")" || exit
mkdir -p source/nothing module
printf '[project]\nname = "nothing"\nversion = "1.0"\n[project.scripts]\nnothing = "nothing:main"\n' > source/pyproject.toml
printf 'def main():\n    print("nothing")\n' > source/nothing/__init__.py
python3 -m venv --system-site-packages environment
environment/bin/pip install -q --no-index --no-build-isolation ./source
environment/bin/nothing
environment/bin/pip list > /dev/null
environment/bin/python -m unittest discover > /dev/null 2>&1
environment/bin/pip uninstall -q -y nothing
if command -v npm > /dev/null; then
    printf '{"name": "module", "version": "1.0.0", "bin": {"module": "index.js"}, "scripts": {"postinstall": "node index.js"}}' > module/package.json
    printf '#!/usr/bin/env node\nconsole.log("module")\n' > module/index.js
    printf '{"name": "app", "version": "1.0.0", "scripts": {"test": "node -e 0"}}' > package.json
    npm install --offline --no-audit --no-fund --install-links ./module
    npx --offline module
    npm test
fi > /dev/null 2>&1
cd && rm -rf languages-*
END
while :; do
    runuser -u dev -- bash /home/dev/languages.sh
    pause 110
done
