#!/usr/bin/env python3
"""Side-by-side benchmark of intercepting proxies. Needs ./setup.sh first.

  bench.py --all                                  every proxy, every scenario
  bench.py --proxy wirescope,hudsucker --scenario A,B --rounds 3
  bench.py --table                                print the Markdown tables again from results.json

Peers are rows of proxies.json. Results are merged into results.json (rows of the same proxy and
scenario are replaced; --append keeps them and adds rounds) and results.md. The tables show medians of
the 3 rounds in which the rest of the machine was least busy. Only processes started here are
signalled, by pid.
"""
import argparse, json, os, re, resource, shutil, signal, socket, statistics, subprocess, sys, threading, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = Path(os.environ.get("BENCH_WORK", HERE / "work")).resolve()
LOADGEN = str(WORK / "bin/loadgen")
# Ours: the dist build of this tree, unless WIRESCOPE names another directory with the binaries.
WIRESCOPE = Path(os.environ.get("WIRESCOPE", HERE.parent / "target/dist")).resolve()
HTTPS, HTTP = 27443, 27080
TICK = os.sysconf("SC_CLK_TCK")

# scenario -> (title, loadgen arguments, plain http?)
SCEN = {
    "A": ("HTTPS keep-alive, 1 KB, 64 conns", ["keepalive", "-c", "64", "-d", "3", "-w", "1"], "1k"),
    "B": ("HTTPS new CONNECT + TLS per request, 16 conns", ["handshake", "-c", "16", "-d", "3", "-w", "1"], "1k"),
    "C": ("1 GiB download, 1 conn", ["download"], "1g"),
    "D": ("plain HTTP keep-alive, 1 KB, 64 conns", ["keepalive", "-c", "64", "-d", "3", "-w", "1"], "1k"),
    "E": ("HTTP/2 in the tunnel, 1 KB, 4 conns x 25 streams", ["keepalive", "--h2", "-c", "4", "--streams", "25", "-d", "3", "-w", "1"], "1k"),
    "F": ("latency, 1 conn, 200 req/s", ["rate", "--rate", "200", "-d", "5", "-w", "0.5"], "1k"),
    "G": ("1,000 idle tunnels", ["idle", "-c", "1000"], "1k"),
    "H": ("100,000 captured 1 KB exchanges", ["keepalive", "-c", "64", "-d", "400", "-w", "0", "--requests", "100000"], "1k"),
}


def subst(x):
    if isinstance(x, str):
        return x.replace("{WORK}", str(WORK)).replace("{BENCH}", str(HERE)).replace("{WIRESCOPE}", str(WIRESCOPE))
    if isinstance(x, list):
        return [subst(v) for v in x]
    if isinstance(x, dict):
        return {k: subst(v) for k, v in x.items()}
    return x


# ---- /proc helpers -------------------------------------------------------------------------
def tree(pid):
    """pid and all its live descendants."""
    kids = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                s = open(f"/proc/{d}/stat").read()
            except OSError:
                continue
            kids.setdefault(int(s.rsplit(")", 1)[1].split()[1]), []).append(int(d))
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        out.append(p)
        todo += kids.get(p, [])
    return out


def cpu(pid):
    """CPU seconds of the process tree, reaped children included."""
    t = 0
    for p in tree(pid):
        try:
            f = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
            t += sum(map(int, f[11:15]))
        except OSError:
            pass
    return t / TICK


def mem(pid, field):
    """Sum of VmRSS or VmHWM over the tree, MB."""
    kb = 0
    for p in tree(pid):
        try:
            for l in open(f"/proc/{p}/status"):
                if l.startswith(field + ":"):
                    kb += int(l.split()[1])
        except OSError:
            pass
    return round(kb / 1024, 1)


def reset_hwm(pid):
    for p in tree(pid):
        try:
            open(f"/proc/{p}/clear_refs", "w").write("5")
        except OSError:
            pass


def settled(pid, last):
    """CPU seconds once the process is still: what it does later for the same requests, such as recording them, counts."""
    for _ in range(40):
        time.sleep(0.25)
        now = cpu(pid)
        if now - last < 0.01:
            return now
        last = now
    return last


def system_cpu():
    f = list(map(int, open("/proc/stat").readline().split()[1:9]))
    return {"busy": (sum(f) - f[3] - f[4]) / TICK, "steal": f[7] / TICK}


# ---- processes ------------------------------------------------------------------------------
def listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def start(name, cmd, port, env=None):
    if listening(port):
        raise RuntimeError(f"{name}: port {port} is taken by some other process")
    log = open(WORK / f"logs/{name}.log", "ab")
    p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                         env={**os.environ, **(env or {})}, cwd=WORK / "run")
    end = time.time() + 30
    while time.time() < end:
        if p.poll() is not None:
            raise RuntimeError(f"{name} exited with {p.returncode}; see {log.name}")
        if listening(port):
            return p
        time.sleep(0.05)
    stop(p)
    raise RuntimeError(f"{name}: port {port} not open after 30 s")


def stop(p):
    if p is None or p.poll() is not None:
        return
    p.send_signal(signal.SIGTERM)
    try:
        p.wait(3)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)  # its own session: only what it started
        p.wait()


def raise_limits(files=65_536):
    """Ten thousand connections are twenty thousand sockets of a proxy."""
    try:
        hard = max(files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    except (ValueError, OSError) as error:
        print(f"note: at most {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} open files: {error}", file=sys.stderr)


def render_conf():
    for f in (HERE / "conf").iterdir():
        (WORK / "conf").mkdir(exist_ok=True)
        (WORK / "conf" / f.name).write_text(subst(f.read_text()))


# ---- one measurement ------------------------------------------------------------------------
def measure(name, px, sc, origin):
    _, args, path = SCEN[sc]
    if px.get("only") and sc not in px["only"]:
        return None
    if sc == "H" and not px.get("capture"):
        return None
    proc = None
    for old in px.get("fresh", []):
        shutil.rmtree(old, ignore_errors=True)
    if px["mode"] != "direct":
        cmd = px.get("capture_cmd", px["cmd"]) if sc == "H" else px["cmd"]
        proc = start(name, cmd, px.get("port") or px["https_port"], px.get("env"))
        time.sleep(0.3)
    try:
        pid = proc.pid if proc else None
        url = f"http://localhost:{HTTP}/{path}" if sc == "D" else f"https://localhost:{HTTPS}/{path}"
        cmd = [LOADGEN, *args, "--url", url]
        if px["mode"] == "proxy":
            cmd += ["--proxy", f"127.0.0.1:{px['port']}"]
        elif px["mode"] == "reverse":
            cmd += ["--connect-to", f"127.0.0.1:{px['http_port' if sc == 'D' else 'https_port']}"]
        if px.get("ca"):
            cmd += ["--ca", px["ca"]]
        row = {"proxy": name, "scenario": sc, "rss_start_mb": mem(pid, "VmRSS") if pid else None,
               "load1": os.getloadavg()[0]}
        if pid:
            reset_hwm(pid)
        lg = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        snap = lambda: {"proxy": cpu(pid) if pid else 0.0, "origin": cpu(origin.pid), "client": cpu(lg.pid), **system_cpu()}
        a = b = None
        watchdog = time.time() + 480
        samples, done = [], threading.Event()
        if pid and sc == "H":
            watch = lambda: [samples.append(mem(pid, "VmRSS")) for _ in iter(lambda: done.wait(1), True)]
            threading.Thread(target=watch, daemon=True).start()
        for line in lg.stdout:
            line = line.strip()
            if line == "START":
                a = snap()
            elif line == "END":
                b = snap()
                if pid:
                    b["proxy"] = settled(pid, b["proxy"])
            elif line.startswith("READY"):
                time.sleep(1.5)
                if pid:
                    row["rss_idle_" + line.split()[1] + "_mb"] = mem(pid, "VmRSS")
                lg.stdin.write("\n"); lg.stdin.flush()
            elif line.startswith("{"):
                row.update(json.loads(line))
            if time.time() > watchdog:
                lg.kill()
        lg.wait()
        done.set()
        if samples:
            row["rss_samples_mb"] = samples[:: max(1, len(samples) // 20)]
        if a and b:
            for k in ("proxy", "origin", "client", "steal"):
                row[k + "_cpu_s"] = round(b[k] - a[k], 3)
            row["other_cpu_s"] = round(b["busy"] - a["busy"] - sum(row[k + "_cpu_s"] for k in ("proxy", "origin", "client", "steal")), 3)
            n = row.get("requests") or 0
            if pid and n and sc != "C":
                row["cpu_s_per_1k"] = row["proxy_cpu_s"] / n * 1000
        if pid:
            time.sleep(0.2 if sc != "H" else 2)
            row["rss_peak_mb"], row["rss_end_mb"] = mem(pid, "VmHWM"), mem(pid, "VmRSS")
    finally:
        stop(proc)
    if sc == "H" and px.get("count_cmd"):
        out = subprocess.run(px["count_cmd"], capture_output=True, text=True, timeout=300)
        row["found"] = int(re.search(r"\d+", out.stdout.strip().splitlines()[-1]).group()) if out.returncode == 0 else None
    return row


# ---- results --------------------------------------------------------------------------------
def med(rows, key):
    v = [r[key] for r in rows if r.get(key) is not None]
    return statistics.median(v) if v else None


def quiet(rows, n=3):
    """The n rounds with the least CPU used by unrelated processes."""
    return sorted(rows, key=lambda r: (r.get("other_cpu_s") or 0) / (r.get("secs") or 1))[:n]


def fmt(x, nd=1):
    if x is None:
        return "-"
    return f"{x:,.0f}" if abs(x) >= 1000 or nd == 0 else f"{x:.{nd}f}"


def table(rows, order):
    out = []
    for sc, (title, *_ ) in SCEN.items():
        mine = [r for r in rows if r["scenario"] == sc]
        if not mine:
            continue
        cols = {
            "C": [("MB/s", "mb_s", 0), ("TTFB s", "ttfb_s", 3), ("proxy CPU s", "proxy_cpu_s", 2)],
            "F": [("p50 ms", "p50_us", 3), ("p99 ms", "p99_us", 3), ("+p50 vs direct", None, 3), ("+p99 vs direct", None, 3), ("CPU s/1k", "cpu_s_per_1k", 3)],
            "G": [("opened", "opened", 0), ("answered", "requests", 0), ("RSS before MB", "rss_start_mb", 1), ("RSS, 1000 TLS tunnels MB", "rss_idle_handshakes_mb", 1),
                  ("RSS, after 1 request each MB", "rss_idle_requests_mb", 1), ("KB/tunnel", None, 1)],
            "H": [("req/s", "rps", 0), ("requests", "requests", 0), ("CPU s/1k", "cpu_s_per_1k", 3), ("RSS before MB", "rss_start_mb", 1), ("RSS after MB", "rss_end_mb", 1), ("RSS peak MB", "rss_peak_mb", 1), ("found", "found", 0)],
        }.get(sc, [("req/s", "rps", 0), ("CPU s/1k", "cpu_s_per_1k", 3), ("p50 ms", "p50_us", 2), ("p99 ms", "p99_us", 2)])
        if sc not in "GH":
            cols = cols + [("peak RSS MB", "rss_peak_mb", 1)]
        cols = cols + [("spread %", "spread", 0), ("other CPU %", "other", 0), ("errors", "errors", 0)]
        out += [f"### {sc}: {title}", "", "| proxy | " + " | ".join(c[0] for c in cols) + " |", "|" + "---|" * (len(cols) + 1)]
        direct = quiet([r for r in mine if r["proxy"] == "direct"])
        names = [n for n in order if any(r["proxy"] == n for r in mine)]
        for n in names:
            rs = quiet([r for r in mine if r["proxy"] == n])
            cells = []
            for head, key, nd in cols:
                if key == "spread":
                    k = {"C": "mb_s", "F": "p50_us", "G": "rss_idle_requests_mb"}.get(sc, "rps")
                    v = [r[k] for r in rs if r.get(k)]
                    cells.append(fmt((max(v) - min(v)) / statistics.median(v) * 100, 0) if len(v) > 1 else "-")
                elif key == "other":
                    v = [r["other_cpu_s"] / r["secs"] / os.cpu_count() * 100 for r in rs if r.get("other_cpu_s") is not None and r.get("secs")]
                    cells.append(fmt(max(0, statistics.median(v)), 0) if v else "-")
                elif head.startswith("+p"):
                    k = head[1:4] + "_us"
                    x, d = med(rs, k), med(direct, k)
                    cells.append(fmt((x - d) / 1000, nd) if x and d else "-")
                elif head == "KB/tunnel":
                    x, s = med(rs, "rss_idle_requests_mb"), med(rs, "rss_start_mb")
                    cells.append(fmt((x - s) * 1024 / 1000, 1) if x and s else "-")
                else:
                    x = med(rs, key)
                    if key == "errors":
                        x = max(r.get("errors") or 0 for r in rs)
                    if x is not None and key.endswith("_us"):
                        x /= 1000
                    cells.append(fmt(x, nd))
            e = next((r["error"] for r in rs if r.get("error") and not r.get("requests")), None)
            out.append(f"| {n} | " + (" | ".join(cells) if not e else f"not supported: {e[:60]}" + " |" * (len(cols) - 1)) + " |")
        out.append("")
    return "\n".join(out)


# What is wanted: (scenario, ours, what, peer, sign, factor or bound). Without a peer the bound stands by itself.
WANTED = [
    ("A", "wirescope", "cpu_s_per_1k", "hudsucker", "<=", 0.85), ("A", "wirescope", "rps", "hudsucker", ">=", 1.15),
    ("A", "wirescope-capture", "cpu_s_per_1k", "hudsucker", "<=", 1.15), ("A", "wirescope-capture", "rps", "hudsucker", ">=", 0.95),
    ("B", "wirescope", "cpu_s_per_1k", "nginx-tls", "<=", 1.1), ("B", "wirescope", "rps", "nginx-tls", ">=", 0.75), ("B", "wirescope", "p99_us", None, "<=", 25000),
    ("B", "wirescope-capture", "cpu_s_per_1k", "nginx-tls", "<=", 1.1), ("B", "wirescope-capture", "rps", "nginx-tls", ">=", 0.75), ("B", "wirescope-capture", "p99_us", None, "<=", 25000),
    ("B", "wirescope-shared", "cpu_s_per_1k", "nginx-tls", "<=", 0.75),
    ("C", "wirescope", "mb_s", "hudsucker", ">=", 1.0), ("C", "wirescope", "rss_peak_mb", None, "<=", 32),
    ("C", "wirescope-capture", "mb_s", "hudsucker", ">=", 0.6), ("C", "wirescope-capture", "rss_peak_mb", None, "<=", 64),
    ("D", "wirescope", "cpu_s_per_1k", "hudsucker", "<=", 0.85), ("D", "wirescope-capture", "cpu_s_per_1k", "hudsucker", "<=", 1.15),
    ("E", "wirescope", "cpu_s_per_1k", "http-mitm-proxy", "<=", 1.0), ("E", "wirescope-capture", "cpu_s_per_1k", "http-mitm-proxy", "<=", 1.3),
    ("F", "wirescope", "p50_us", "+direct", "<=", 280),
    ("F", "wirescope-capture", "p50_us", "+direct", "<=", 350), ("F", "wirescope-capture", "p99_us", "+direct", "<=", 1000),
    ("G", "wirescope", "kb_per_tunnel", None, "<=", 36), ("G", "wirescope-capture", "kb_per_tunnel", None, "<=", 36),
    ("H", "wirescope-capture", "rss_peak_mb", None, "<=", 96),
]


def ratios(rows):
    """The wanted figures as a table; what was not measured says so."""
    out = ["### Against what is wanted", "", "| scenario | ours | figure | ours | peer | peer's | ratio or value | wanted | |", "|" + "---|" * 9]
    for sc, ours, what, peer, sign, bound in WANTED:
        pick = lambda name: quiet([r for r in rows if r["scenario"] == sc and r["proxy"] == name])
        mine = pick(ours)
        if what == "kb_per_tunnel":
            a, b = med(mine, "rss_idle_requests_mb"), med(mine, "rss_start_mb")
            x = (a - b) * 1024 / 1000 if a and b else None
        else:
            x = med(mine, what)
        y = med(pick((peer or "").lstrip("+")), what) if peer else None
        if x is None or (peer and not y):
            value = None
        elif peer and peer.startswith("+"):
            value = x - y
        else:
            value = x / y if peer else x
        ok = "not measured" if value is None else "met" if (value <= bound if sign == "<=" else value >= bound) else "MISSED"
        nd = 0 if what.endswith("_us") else 2
        out.append(f"| {sc} | {ours} | {what} | {fmt(x, 4)} | {peer or '-'} | {fmt(y, 4)} | {fmt(value, nd)} | {sign} {bound} | {ok} |")
    return "\n".join(out) + "\n"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--proxy", help="comma list, names of proxies.json")
    ap.add_argument("--scenario", help="comma list of " + ",".join(SCEN))
    ap.add_argument("--all", action="store_true")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--proxies", default=str(HERE / "proxies.json"))
    ap.add_argument("--out", default=str(WORK / "results.json"))
    ap.add_argument("--append", action="store_true", help="keep earlier rounds of the same proxy and scenario")
    ap.add_argument("--table", action="store_true")
    ap.add_argument("--seconds", type=float, default=3, help="length of A, B, D and E")
    ap.add_argument("--captured", type=int, default=100_000, help="exchanges of H")
    o = ap.parse_args()
    cfg = subst(json.loads(Path(o.proxies).read_text()))
    out = Path(o.out)
    old = json.loads(out.read_text())["rows"] if out.exists() else []
    if o.table:
        print(table(old, list(cfg)) + ratios(old))
        return
    if not (o.all or o.proxy or o.scenario):
        ap.error("give --all, or --proxy and/or --scenario")
    for sc in "ABDE":
        args = SCEN[sc][1]
        args[args.index("-d") + 1] = str(o.seconds)
    args = SCEN["H"][1]
    args[args.index("--requests") + 1] = str(o.captured)
    names = o.proxy.split(",") if o.proxy else list(cfg)
    scens = o.scenario.split(",") if o.scenario else list(SCEN)
    for n in names:
        if n not in cfg:
            ap.error(f"unknown proxy {n}")
    raise_limits()
    render_conf()
    origin = start("origin", ["nginx", "-p", str(WORK / "run"), "-c", str(WORK / "conf/nginx-origin.conf")], HTTPS)
    rows = []
    try:
        for sc in scens:
            rounds = 1 if sc == "H" else o.rounds
            for rnd in range(rounds):
                for n in names if rnd % 2 == 0 else names[::-1]:  # alternate the order
                    try:
                        r = measure(n, cfg[n], sc, origin)
                    except Exception as e:
                        r = {"proxy": n, "scenario": sc, "error": str(e)}
                    if r is None:
                        continue
                    r["round"], r["at"] = rnd, time.strftime("%FT%TZ", time.gmtime())
                    rows.append(r)
                    done = {(x["proxy"], x["scenario"]) for x in rows}
                    keep = [x for x in old if o.append or (x["proxy"], x["scenario"]) not in done]
                    out.write_text(json.dumps({"rows": keep + rows}, indent=1))
                    print(sc, rnd, n, {k: r.get(k) for k in ("rps", "mb_s", "p50_us", "p99_us", "cpu_s_per_1k", "proxy_cpu_s", "rss_peak_mb", "other_cpu_s", "errors", "error", "tls") if r.get(k)}, flush=True)
    finally:
        stop(origin)
    rows = json.loads(out.read_text())["rows"]
    md = table(rows, list(cfg)) + ratios(rows)
    out.with_suffix(".md").write_text(md + "\n")
    print(md)


if __name__ == "__main__":
    main()
