# Somebody writes a program: files saved by vim, a language server that reads the project and its libraries.
. /usr/local/lib/ordinary/lib.sh
cat > /home/dev/session.py <<'END'
import json, subprocess, time
def message(method, params, number=None):
    text = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **({"id": number} if number else {})}).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(text), text)
server = subprocess.Popen(["pylsp"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
uri, text = "file:///home/dev/code/main.py", "import json\nimport os\njson.du\n"
document = {"uri": uri}
for each in (
    message("initialize", {"processId": None, "rootUri": "file:///home/dev/code", "capabilities": {}}, 1),
    message("initialized", {}),
    message("textDocument/didOpen", {"textDocument": {**document, "languageId": "python", "version": 1, "text": text}}),
    message("textDocument/completion", {"textDocument": document, "position": {"line": 2, "character": 7}}, 2),
    message("textDocument/hover", {"textDocument": document, "position": {"line": 0, "character": 8}}, 3),
):
    server.stdin.write(each)
    server.stdin.flush()
    time.sleep(2)
server.stdin.write(message("shutdown", None, 4) + message("exit", None))
server.stdin.close()
server.wait()
END
mkdir -p /home/dev/code
chown -R dev: /home/dev/code
while :; do
    runuser -u dev -- sh -c 'cd ~/code && vim.tiny -es -c "normal oprint(1)" -c "wq" main.py; python3 main.py; python3 -m py_compile main.py'
    command -v pylsp && runuser -u dev -- python3 /home/dev/session.py
    pause 60
done > /dev/null 2>&1
