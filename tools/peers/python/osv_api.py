"""A counterpart of OSV's API (POST /v1/query), written from its reference and evaluated with PyPA's packaging.

usage: osv_api.py DUMP.zip; prints its port, answers until it is ended. It shares no code with what it is held against.
"""
import json
import sys
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version


def parse(text):
    try:
        return Version(text)
    except InvalidVersion:
        return None


def in_range(version, events):
    """OSV schema, "Evaluation": an introduced event lets in, fixed and beyond last_affected let out."""
    keyed = []
    for event in events:
        for kind, value in event.items():
            at = None if kind == "introduced" and value == "0" else parse(value)
            if at is not None or value == "0":
                keyed.append((at, kind))
    keyed.sort(key=lambda item: (item[0] is not None, item[0] or Version("0")))
    inside = False
    for at, kind in keyed:
        if kind == "introduced" and (at is None or version >= at):
            inside = True
        elif kind == "fixed" and version >= at:
            inside = False
        elif kind == "last_affected" and version > at:
            inside = False
    return inside


def affected(record, name, text):
    version = parse(text)
    for entry in record.get("affected", []):
        package = entry.get("package", {})
        if package.get("ecosystem") != "PyPI" or canonicalize_name(package.get("name", "")) != name:
            continue
        if any(text == listed or (version and parse(listed) == version) for listed in entry.get("versions", [])):
            return True
        ranges = [item for item in entry.get("ranges", []) if item.get("type") == "ECOSYSTEM"]
        if version and any(in_range(version, item.get("events", [])) for item in ranges):
            return True
    return False


def load(path):
    by_name = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            record = json.loads(archive.read(member))
            if record.get("withdrawn"):
                continue
            for name in {canonicalize_name(entry["package"]["name"]) for entry in record.get("affected", []) if "package" in entry}:
                by_name.setdefault(name, []).append(record)
    return by_name


RECORDS = load(sys.argv[1])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = canonicalize_name(query["package"]["name"])
        found = [record for record in RECORDS.get(name, []) if affected(record, name, query["version"])]
        body = json.dumps({"vulns": found} if found else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
