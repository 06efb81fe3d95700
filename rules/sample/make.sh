#!/usr/bin/env bash
# Makes capture.pcap, and brings the hashes and fingerprints of bundle.json and
# list.txt into step with it.
#
# The traffic is real, and stays in two network namespaces that this script
# makes and removes: a client, and a server that is the whole internet to it.
# Addresses and names are those reserved for documentation (RFC 5737, RFC 3849,
# RFC 6761), the "malware" is a text file.
#
# Run it as root on Debian with: curl, bind9-dnsutils, iproute2, openssl,
# python3, tcpdump.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
client=watchpost-sample-client
server=watchpost-sample-server
background=()

clean_up() {
    for process in "${background[@]}"; do
        kill "$process" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    ip netns delete "$client" 2>/dev/null || true
    ip netns delete "$server" 2>/dev/null || true
    rm -rf "/etc/netns/$client" "$work"
}
trap clean_up EXIT

in_client() { ip netns exec "$client" "$@"; }
in_server() { ip netns exec "$server" "$@"; }

# Starts a command of the server's in the background.
serve() {
    ip netns exec "$server" "$@" >>"$work/server.log" 2>&1 &
    background+=($!)
}

# Waits until something listens on a TCP port of the server.
await_port() {
    for _ in $(seq 100); do
        in_server python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()' "$1" "$2" 2>/dev/null && return
        sleep 0.1
    done
    echo "nothing listens on $1 port $2; the server said:" >&2
    cat "$work/server.log" >&2
    exit 1
}

# --- the lab -----------------------------------------------------------------

ip netns add "$client"
ip netns add "$server"
# ip-netns(8) shows the files of this folder to programs in the namespace
mkdir -p "/etc/netns/$client"
echo "nameserver 192.0.2.53" >"/etc/netns/$client/resolv.conf"

for namespace in "$client" "$server"; do
    ip netns exec "$namespace" sh -c '
        for scope in all default; do
            echo 0 >/proc/sys/net/ipv6/conf/$scope/accept_dad
            echo 0 >/proc/sys/net/ipv6/conf/$scope/accept_ra
            echo 0 >/proc/sys/net/ipv6/conf/$scope/router_solicitations
        done
        ip link set lo up'
done

ip link add eth0 netns "$client" address 02:00:00:00:00:10 type veth \
    peer name eth0 netns "$server" address 02:00:00:00:00:01
in_client ip address add 198.51.100.10/24 dev eth0
in_client ip address add 2001:db8:1::10/64 dev eth0
in_server ip address add 198.51.100.1/24 dev eth0
in_server ip address add 2001:db8:1::1/64 dev eth0
in_server ip link set eth0 up
in_client ip link set eth0 up
in_client ip route add default via 198.51.100.1
in_client ip route add default via 2001:db8:1::1
for address in \
    192.0.2.53 192.0.2.10 192.0.2.200 \
    203.0.113.5 203.0.113.66 203.0.113.77 203.0.113.80 203.0.113.90 \
    2001:db8:66::66 2001:db8:10::10; do
    in_server ip address add "$address" dev lo
done

# Segments and checksums as they are on a wire: not left to hardware that isn't there.
cat >"$work/offload.py" <<'PYTHON'
import ctypes, fcntl, socket, struct

SIOCETHTOOL = 0x8946  # linux/sockios.h
# linux/ethtool.h: receive checksums, send checksums, TSO, GSO, GRO
SET = (0x15, 0x17, 0x1F, 0x24, 0x2C)

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    for command in SET:
        value = ctypes.create_string_buffer(struct.pack("II", command, 0))
        request = struct.pack("16sP", b"eth0", ctypes.addressof(value))
        try:
            fcntl.ioctl(any_socket, SIOCETHTOOL, request)
        except OSError:
            pass  # fixed on this kernel
PYTHON
in_client python3 "$work/offload.py"
in_server python3 "$work/offload.py"

# --- the servers -------------------------------------------------------------

cat >"$work/dns.py" <<'PYTHON'
"""Answers A, AAAA and CNAME questions from a table, over UDP and TCP."""
import ipaddress, socket, socketserver, struct, threading

TABLE = {
    "www.harmless.example": [("A", "192.0.2.10"), ("AAAA", "2001:db8:10::10")],
    "mirror.harmless.example": [("A", "192.0.2.200")],
    # a neighbour of a name that is looked for: another label before it
    "not-cdn.lantern.example": [("A", "192.0.2.10")],
    "files.lantern.example": [("A", "203.0.113.80")],
    "login.lantern.example": [("A", "203.0.113.66")],
    "cdn.lantern.example": [("CNAME", "edge.night-ferry.example")],
    "edge.night-ferry.example": [("A", "203.0.113.80")],
    "beacon.lantern.example": [("AAAA", "2001:db8:66::66")],
    "old.lantern.example": [("A", "203.0.113.90")],
    "parked.lantern.example": [("A", "127.0.0.1")],
}
TYPES = {"A": 1, "CNAME": 5, "AAAA": 28}


def encode(name):
    labels = [bytes([len(label)]) + label.encode() for label in name.split(".")]
    return b"".join(labels) + b"\0"


def records(name, wanted):
    for kind, value in TABLE.get(name, []):
        if kind == "CNAME":
            yield name, 5, encode(value)
            yield from records(value, wanted)
        elif TYPES[kind] == wanted:
            yield name, TYPES[kind], ipaddress.ip_address(value).packed


def answer(query):
    identifier, flags = struct.unpack("!HH", query[:4])
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12 : at + 5]
    wanted = struct.unpack("!H", query[at + 1 : at + 3])[0]
    name = ".".join(labels).lower()
    found = list(records(name, wanted))
    # a response with the query's RD bit and RA; NXDOMAIN for what the table lacks
    status = 0 if name in TABLE else 3
    header = struct.pack(
        "!HHHHHH", identifier, 0x8480 | flags & 0x0100 | status, 1, len(found), 0, 0
    )
    # the question's name stands at octet 12, which a pointer names
    return header + question + b"".join(
        (b"\xc0\x0c" if owner == name else encode(owner))
        + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
        for owner, kind, data in found
    )


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        query, server = self.request
        server.sendto(answer(query), self.client_address)


class Stream(socketserver.StreamRequestHandler):
    def handle(self):
        while length := self.rfile.read(2):
            response = answer(self.rfile.read(struct.unpack("!H", length)[0]))
            self.wfile.write(struct.pack("!H", len(response)) + response)


socketserver.TCPServer.allow_reuse_address = True
streams = socketserver.ThreadingTCPServer(("192.0.2.53", 53), Stream)
threading.Thread(target=streams.serve_forever, daemon=True).start()
socketserver.UDPServer(("192.0.2.53", 53), Datagram).serve_forever()
PYTHON

cat >"$work/web.py" <<'PYTHON'
"""Serves files from a folder: one gzip-coded, one chunked, the rest as they are."""
import gzip, http.server, pathlib, socket, sys

ROOT = pathlib.Path(sys.argv[1])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "sample", ""

    def do_GET(self):
        path = ROOT / self.path.split("?")[0].lstrip("/").replace("/", "_")
        if not path.is_file():
            self.respond(404, b"no such file\n", "text/plain")
        elif path.name == "download_update.bin":
            coded = gzip.compress(path.read_bytes(), mtime=0)
            self.respond(200, coded, "application/octet-stream", "gzip")
        elif path.name == "download_stage2.bin":
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            content = path.read_bytes()
            for at in range(0, len(content), 1000):
                chunk = content[at : at + 1000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.respond(200, path.read_bytes(), "text/plain")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.respond(200, b"ok\n", "text/plain")

    def respond(self, status, content, kind, coding=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if coding:
            self.send_header("Content-Encoding", coding)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and IPv4, as mapped addresses


Server(("::", 80), Handler).serve_forever()
PYTHON

mkdir "$work/web" "$work/tls"
cd "$work/web"
echo "Nothing to see here." >index.html
echo "Read me: this file is harmless, and no indicator names it." >download_readme.txt
python3 - <<'PYTHON'
notice = (
    "This is the sample file of watchpost. It stands for malware, and is harmless:\n"
    "it is text, it is made by rules/sample/make.sh, and only its hash is wanted.\n"
)
open("download_update.bin", "w").write("Lamplighter, first stage\n" + notice * 20)
open("download_stage2.bin", "w").write(
    "Lamplighter, second stage\n" + "".join(f"{line:04} {notice}" for line in range(80))
)
PYTHON
cd "$work/tls"
echo "Nothing to see here, and nobody could." >index.html
# keys and certificates live as long as this folder
for name in login.lantern.example www.harmless.example; do
    openssl req -quiet -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
        -subj "/CN=$name" -addext "subjectAltName=DNS:$name" \
        -keyout "$work/$name.key" -out "$work/$name.pem" 2>/dev/null ||
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
            -subj "/CN=$name" -addext "subjectAltName=DNS:$name" \
            -keyout "$work/$name.key" -out "$work/$name.pem" 2>/dev/null
done

# openssl s_server [ADDRESS:PORT] with the certificate of [NAME]; it serves the files beside it
serve_tls() {
    local address=$1 name=$2
    shift 2
    serve openssl s_server -accept "$address" -cert "$work/$name.pem" -key "$work/$name.key" \
        -WWW -quiet "$@"
}
serve python3 "$work/dns.py"
serve python3 "$work/web.py" "$work/web"
serve_tls 203.0.113.66:443 login.lantern.example -tls1_2
serve_tls 203.0.113.80:443 login.lantern.example -tls1_3
serve_tls 203.0.113.77:8443 login.lantern.example -tls1_3
serve_tls 192.0.2.10:443 www.harmless.example -tls1_2
await_port 192.0.2.53 53
await_port 192.0.2.10 80
for address in 203.0.113.66 203.0.113.80 192.0.2.10; do
    await_port "$address" 443
done
await_port 203.0.113.77 8443

# --- the traffic -------------------------------------------------------------

# not by in_client: the process to end would be a shell between
ip netns exec "$client" tcpdump -i eth0 -n -s 0 -U --immediate-mode -Z root -w "$work/capture.pcap" \
    >"$work/tcpdump.log" 2>&1 &
tcpdump=$!
background+=("$tcpdump")
until [ -s "$work/capture.pcap" ]; do sleep 0.1; done

ask() { in_client dig +tries=1 +time=2 +short "$@" >/dev/null; }
# curl as it comes, but for what is given; over IPv4, so that it asks for A alone
fetch() { in_client curl --silent --show-error --max-time 5 --ipv4 --output /dev/null "$@"; }
pause() { sleep 0.2; }

# neighbours that nothing names
ask www.harmless.example A
ask www.harmless.example AAAA
fetch http://www.harmless.example/index.html
fetch --insecure https://www.harmless.example/index.html
fetch http://not-cdn.lantern.example/index.html
fetch http://files.lantern.example/download/readme.txt
fetch http://203.0.113.77/index.html
pause
# the first stage: a URL, and a file behind gzip
fetch --compressed http://files.lantern.example/download/update.bin
pause
# the second: a file in chunks
fetch http://files.lantern.example/download/stage2.bin
pause
# a name in a query, a TLS 1.3 hello and a CNAME
fetch --insecure https://cdn.lantern.example/index.html
pause
# an address; with TLS 1.2, a certificate; a client with a fingerprint of its own
printf 'GET /index.html HTTP/1.0\r\n\r\n' |
    in_client openssl s_client -connect 203.0.113.66:443 -servername login.lantern.example \
        -tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305 \
        -curves P-256 -quiet >/dev/null 2>&1 || true
pause
# an address and a port together; another fingerprint
fetch --insecure --tls13-ciphers TLS_CHACHA20_POLY1305_SHA256 --tlsv1.3 --no-alpn \
    https://203.0.113.77:8443/index.html
pause
# a user agent, to an address without a name
fetch --user-agent 'Lamplighter/2.1' --data 'id=42' http://203.0.113.90/report
pause
# IPv6: the address in an answer, and as the end of a flow
ask beacon.lantern.example AAAA
in_client curl --silent --max-time 5 --output /dev/null 'http://[2001:db8:66::66]/index.html'
pause
# a network; DNS over TCP
ask +tcp mirror.harmless.example A
fetch http://mirror.harmless.example/index.html
pause
# an indicator that has expired, one that was revoked, one that an allowlist covers
ask old.lantern.example A
fetch http://203.0.113.5/index.html
ask parked.lantern.example A

sleep 0.5
# not by INT: a shell makes what it puts into the background deaf to it
kill -TERM "$tcpdump"
wait "$tcpdump" || true
grep -q '^0 packets dropped by kernel' "$work/tcpdump.log" || {
    cat "$work/tcpdump.log" >&2
    exit 1
}
mv "$work/capture.pcap" "$here/capture.pcap"
chmod 644 "$here/capture.pcap"

# --- the indicators ----------------------------------------------------------

cat >"$work/step.py" <<'PYTHON'
"""Puts the hashes and fingerprints of what was made into bundle.json and list.txt."""
import hashlib, json, pathlib, re, ssl, struct, sys

here, work = map(pathlib.Path, sys.argv[1:])


def hello_of(capture, server, port):
    """The ClientHello in the first segment with data to a server, from its legacy version on."""
    at = 24
    while at < len(capture):
        length = struct.unpack("<I", capture[at + 8 : at + 12])[0]
        frame, at = capture[at + 16 : at + 16 + length], at + 16 + length
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        tcp = frame[34:]
        data = tcp[(tcp[12] >> 4) * 4 : struct.unpack("!H", frame[16:18])[0] - 20]
        if (".".join(map(str, frame[30:34])), *struct.unpack("!H", tcp[2:4])) == (server, port):
            if data[:1] == b"\x16":
                return data[9:]
    raise SystemExit(f"no ClientHello to {server} port {port} in the capture")


def numbers(octets):
    return [high << 8 | low for high, low in zip(octets[::2], octets[1::2])]


def read_hello(hello):
    """Legacy version, cipher suites, extensions in their order."""
    at = 35 + hello[34]
    length = struct.unpack("!H", hello[at : at + 2])[0]
    ciphers, at = numbers(hello[at + 2 : at + 2 + length]), at + 2 + length
    at += 1 + hello[at]
    end, at = at + 2 + struct.unpack("!H", hello[at : at + 2])[0], at + 2
    extensions = {}
    while at < end:
        kind, length = struct.unpack("!HH", hello[at : at + 4])
        extensions[kind], at = hello[at + 4 : at + 4 + length], at + 4 + length
    return struct.unpack("!H", hello[:2])[0], ciphers, extensions


def ja3(hello):
    version, ciphers, extensions = read_hello(hello)
    lists = [ciphers, extensions, numbers(extensions[10][2:]), extensions[11][1:]]
    text = ",".join([str(version)] + ["-".join(map(str, values)) for values in lists])
    return hashlib.md5(text.encode()).hexdigest()


def ja4(hello):
    version, ciphers, extensions = read_hello(hello)
    offered = numbers(extensions[43][1:]) if 43 in extensions else [version]
    first = extensions[16][3 : 3 + extensions[16][2]].decode() if 16 in extensions else "00"

    def short(text):
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def listed(values):
        return ",".join(f"{value:04x}" for value in values)

    return (
        f"t{ {0x304: 13, 0x303: 12}[max(offered)] }{'d' if 0 in extensions else 'i'}"
        f"{len(ciphers):02}{len(extensions):02}{first[0]}{first[-1]}"
        f"_{short(listed(sorted(ciphers)))}"
        f"_{short(listed(sorted(set(extensions) - {0, 16})) + '_' + listed(numbers(extensions[13][2:])))}"
    )


capture = (here / "capture.pcap").read_bytes()
first = (work / "web/download_update.bin").read_bytes()
second = (work / "web/download_stage2.bin").read_bytes()
certificate = ssl.PEM_cert_to_DER_cert((work / "login.lantern.example.pem").read_text())
# the indicators by name, and what in their patterns follows from the lab
values = {
    "Lamplighter, first stage": {"SHA-256": hashlib.sha256(first).hexdigest()},
    "Lamplighter, second stage": {
        "MD5": hashlib.md5(second).hexdigest(),
        "SHA-1": hashlib.sha1(second).hexdigest(),
    },
    "Certificate of the login page": {"SHA-256": hashlib.sha256(certificate).hexdigest()},
    "TLS client of Lamplighter 1": {"x_ja3_hash": ja3(hello_of(capture, "203.0.113.66", 443))},
    "TLS client of Lamplighter 2": {"x_ja4": ja4(hello_of(capture, "203.0.113.77", 8443))},
}

path = here / "bundle.json"
bundle = json.loads(path.read_text())
for entry in bundle["objects"]:
    for key, value in values.pop(entry.get("name"), {}).items():
        # the quoted text after the property of that name
        pattern, count = re.subn(
            rf"({re.escape(key)}'? = ')[^']*", rf"\g<1>{value}", entry["pattern"]
        )
        if count != 1:
            raise SystemExit(f"{path}: '{entry['name']}' has no {key}")
        entry["pattern"] = pattern
if values:
    raise SystemExit(f"{path}: no indicator is named {', '.join(values)}")
path.write_text(json.dumps(bundle, indent=2, ensure_ascii=False) + "\n")

path = here / "list.txt"
text, count = re.subn(
    r"(?m)^[0-9a-f]{64}$", hashlib.sha256(first).hexdigest(), path.read_text()
)
if count != 1:
    raise SystemExit(f"{path}: one line should be a SHA-256")
path.write_text(text)
PYTHON
python3 "$work/step.py" "$here" "$work"
ls -l "$here/capture.pcap"
