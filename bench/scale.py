#!/usr/bin/env python3
"""What a request costs as things grow. Needs ./setup.sh first (PEERS="" is enough).

  scale.py                              everything (~30 min)
  scale.py connections bodies hosts     some of: connections bodies hosts stored readers
  scale.py --short                      smaller steps, for trying it out
  scale.py --table                      print the tables again from scale.json

Everything is measured against ours, without and with capture. Tables go to scale.md beside scale.json.
"""
import argparse, json, resource, shutil, statistics, subprocess, threading, time
from pathlib import Path

import bench
from bench import HTTPS, LOADGEN, WIRESCOPE, WORK, cpu, mem, reset_hwm, settled, start, stop

PORT, STATE, STORE = 27363, str(WORK / "wirescope"), str(WORK / "run/scale-store")
RUN = [str(WIRESCOPE / "wirescope"), "run", "--port", str(PORT), "--state-dir", STATE, "--upstream-ca", str(WORK / "certs/ca.pem")]
MODES = {"no capture": ["--no-capture"], "capture": ["--store", STORE, "--session", "scale", "--quiet"]}
STEPS = {
    "connections": ([1, 8, 64, 512, 2_000, 5_000, 10_000], [1, 64, 512]),
    "bodies": (["0", "1k", "64k", "1m", "10m", "100m"], ["0", "1k", "1m"]),
    "hosts": ([1, 10, 100, 1_000, 10_000], [1, 100]),
    "stored": ([1_000, 10_000, 100_000, 300_000, 1_000_000], [1_000, 10_000]),
    "readers": ([0, 1, 2, 4, 8], [0, 2]),
}
COLUMNS = {
    "connections": "open connections", "bodies": "body", "hosts": "hosts", "stored": "exchanges stored", "readers": "MCP readers",
}


def load(pid, args, settle=True):
    """Runs the load generator and returns its answer with the proxy's CPU seconds of the measured window."""
    if pid:
        reset_hwm(pid)
    lg = subprocess.Popen([LOADGEN, *args, "--proxy", f"127.0.0.1:{PORT}", "--ca", STATE + "/ca/ca.pem"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    row, a, b = {}, None, None
    for line in lg.stdout:
        line = line.strip()
        if line == "START":
            a = cpu(pid)
        elif line == "END":
            b = settled(pid, cpu(pid)) if settle else cpu(pid)
        elif line.startswith("{"):
            row = json.loads(line)
    lg.wait()
    if a is not None and b is not None and row.get("requests"):
        row["cpu_s"] = b - a
        row["cpu_ms_per_request"] = (b - a) * 1000 / row["requests"]
        row["cpu_s_per_gb"] = (b - a) / max(1, row["bytes"]) * 1e9 if row.get("bytes") else None
    row["rss_peak_mb"], row["rss_mb"] = mem(pid, "VmHWM"), mem(pid, "VmRSS")
    return row


def proxy(mode, *more):
    shutil.rmtree(STORE, ignore_errors=True)
    return start("wirescope-scale", RUN + MODES[mode] + list(more), PORT)


def url(path, host="localhost"):
    return f"https://{host}:{HTTPS}/{path}"


def closed_loop(path, connections, seconds, warm):
    return ["keepalive", "-c", str(connections), "-d", str(seconds), "-w", str(warm), "--url", url(path)]


def each_mode(steps, args, *more):
    """One fresh proxy for each step and mode."""
    rows = []
    for step in steps:
        for mode in MODES:
            p = proxy(mode, *more)
            try:
                rows.append({"step": step, "mode": mode, **load(p.pid, args(step))})
            finally:
                stop(p)
            print(rows[-1]["step"], mode, {k: rows[-1].get(k) for k in ("rps", "cpu_ms_per_request", "rss_peak_mb", "errors", "error")}, flush=True)
    return rows


def connections(steps):
    # Each is two sockets of the proxy.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 500
    steps = sorted({min(n, most) for n in steps})
    return each_mode(steps, lambda n: closed_loop("1k", n, 5, 2 + n / 500))


def bodies(steps):
    return each_mode(steps, lambda path: closed_loop(path, 8, 5, 1))


def hosts(steps):
    # Every connection is a handshake with another host's leaf; the warm-up sees each host once.
    args = lambda n: ["handshake", "-c", "16", "-d", "5", "-w", str(1 + n / 1_000), "--hosts", str(n), "--url", url("1k")]
    return each_mode(steps, args, "--resolve", f"*:{HTTPS}:127.0.0.1")


def stored(steps):
    """One proxy that records on: what a request costs once that many are stored, and what finding one costs."""
    rows, p, done = [], proxy("capture"), 0
    try:
        for step in steps:
            if step > done:
                load(p.pid, ["keepalive", "-c", "64", "-d", "400", "-w", "0", "--requests", str(step - done), "--url", url("1k")])
            row = load(p.pid, closed_loop("1k", 64, 3, 0.5))
            count = "SELECT count(*) FROM exchanges"
            ask = lambda sql: subprocess.run([RUN[0], "sql", "--state-dir", STATE, "--store", STORE, "--timeout", "60", "--csv", sql], capture_output=True, text=True).stdout
            done = int(ask(count).split()[-1])
            t = time.time()
            ask("SELECT seq, url FROM exchanges WHERE status = 200 ORDER BY seq DESC LIMIT 20")
            row.update(found_ms=round((time.time() - t) * 1000), store_mb=sum(f.stat().st_size for f in Path(STORE).rglob("*") if f.is_file()) / 1e6)
            rows.append({"step": done, "mode": "capture", **row})
            print(done, {k: row.get(k) for k in ("rps", "cpu_ms_per_request", "rss_mb", "store_mb", "found_ms")}, flush=True)
    finally:
        stop(p)
    return rows


class Reader(threading.Thread):
    """An MCP server beside the proxy that pages through what it records, again and again."""

    def __init__(self, number):
        super().__init__(daemon=True)
        self.times, self.errors, self.over, self.next = [], 0, threading.Event(), 10
        command = [str(WIRESCOPE / "wirescope-mcp"), "--state-dir", str(WORK / f"run/reader{number}"), "--store", STORE]
        log = open(WORK / "logs/readers.log", "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}})
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, method, params):
        self.next += 1
        self.send({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params})
        while True:
            answer = json.loads(self.process.stdout.readline())
            if answer.get("id") == self.next:
                return answer

    def tool(self, name, **arguments):
        answer = self.ask("tools/call", {"name": name, "arguments": arguments})
        return answer.get("result", {}).get("structuredContent") or {}

    def run(self):
        sessions = self.tool("proxy_list_sessions")
        ids = [s.get("id") or s.get("session_id") for s in sessions.get("sessions", [])]
        while not self.over.is_set() and ids:
            t = time.time()
            answer = self.tool("proxy_query_session", session_id=ids[-1], status_code=200, limit=50)
            self.times.append((time.time() - t) * 1000)
            self.errors += answer.get("status") != "success"
            self.over.wait(0.02)

    def end(self):
        self.over.set()
        self.join(10)
        self.process.stdin.close()
        self.process.wait(10)


def readers(steps):
    rows = []
    for step in steps:
        p = proxy("capture")
        try:
            load(p.pid, ["keepalive", "-c", "64", "-d", "60", "-w", "0", "--requests", "20000", "--url", url("1k")])
            crowd = [Reader(n) for n in range(step)]
            for reader in crowd:
                reader.start()
            row = load(p.pid, closed_loop("1k", 64, 8, 1), settle=False)
            for reader in crowd:
                reader.end()
            times = sorted(t for reader in crowd for t in reader.times)
            row.update(answers=len(times), answer_p50_ms=statistics.median(times) if times else None,
                       answer_p99_ms=times[int((len(times) - 1) * 0.99)] if times else None, reader_errors=sum(r.errors for r in crowd))
            rows.append({"step": step, "mode": "capture", **row})
        finally:
            stop(p)
        print(step, {k: rows[-1].get(k) for k in ("rps", "p99_us", "cpu_ms_per_request", "rss_mb", "answers", "answer_p50_ms", "answer_p99_ms", "reader_errors")}, flush=True)
    return rows


def table(what, rows):
    columns = [("requests/s", "rps", 0), ("proxy CPU ms per request", "cpu_ms_per_request", 3), ("p50 us", "p50_us", 0), ("p99 us", "p99_us", 0), ("RSS peak MB", "rss_peak_mb", 1), ("errors", "errors", 0)]
    columns += {"bodies": [("CPU s per GB", "cpu_s_per_gb", 2)], "stored": [("store MB", "store_mb", 0), ("newest 20 found in ms", "found_ms", 0)],
                "readers": [("answers", "answers", 0), ("answer p50 ms", "answer_p50_ms", 1), ("answer p99 ms", "answer_p99_ms", 1), ("failed", "reader_errors", 0)]}.get(what, [])
    out = [f"### {COLUMNS[what]}", "", f"| {COLUMNS[what]} | mode | " + " | ".join(c[0] for c in columns) + " |", "|---:|---|" + "---:|" * len(columns)]
    out += [f"| {r['step'] if isinstance(r['step'], str) else format(r['step'], ',')} | {r['mode']} | " + " | ".join(bench.fmt(r.get(key), nd) for _, key, nd in columns) + " |" for r in rows]
    return "\n".join(out) + "\n"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", nargs="*", choices=[*STEPS, []])
    ap.add_argument("--short", action="store_true")
    ap.add_argument("--table", action="store_true")
    o = ap.parse_args()
    out = WORK / "scale.json"
    known = json.loads(out.read_text()) if out.exists() else {}
    if not o.table:
        bench.raise_limits()
        bench.render_conf()
        origin = start("origin", ["nginx", "-p", str(WORK / "run"), "-c", str(WORK / "conf/nginx-origin.conf")], HTTPS)
        try:
            for what in o.what or STEPS:
                known[what] = globals()[what](STEPS[what][int(o.short)])
                out.write_text(json.dumps(known, indent=1))
        finally:
            stop(origin)
            shutil.rmtree(STORE, ignore_errors=True)
    md = "\n".join(table(what, known[what]) for what in STEPS if what in known)
    (WORK / "scale.md").write_text(md)
    print(md)


if __name__ == "__main__":
    main()
