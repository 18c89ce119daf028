//! The views that SQL reads. Their names and columns are a contract (docs/sql.md): what is there stays.

/// The views' names.
pub(super) const NAMES: [&str; 5] = ["exchanges", "headers", "bodies", "messages", "sessions"];

/// Makes them, for one connection.
pub(super) const VIEWS: &str = "
CREATE TEMP VIEW sessions AS SELECT
    id,
    name,
    CASE kind WHEN 0 THEN 'scratch' WHEN 1 THEN 'named' ELSE 'imported' END AS kind,
    CASE state WHEN 0 THEN 'active' WHEN 1 THEN 'full' WHEN 3 THEN 'recovered' ELSE 'stopped' END AS state,
    started_at / 1000000 AS started_ms,
    ended_at / 1000000 AS ended_ms,
    exchanges,
    bytes,
    max_bytes,
    evicted,
    not_recorded,
    comment,
    tags,
    last_error
FROM main.sessions WHERE hidden = 0;

CREATE TEMP VIEW exchanges AS SELECT
    e.seq AS seq,
    'e' || e.seq AS id,
    e.session AS session,
    CASE e.kind WHEN 1 THEN 'websocket' WHEN 2 THEN 'upgrade' WHEN 3 THEN 'tunnel' ELSE 'http' END AS kind,
    CASE e.state WHEN 0 THEN 'open' WHEN 2 THEN 'mock' WHEN 3 THEN 'upgrade' WHEN 4 THEN 'tunnel' WHEN 5 THEN 'failed'
        ELSE 'response' END AS state,
    e.started_at / 1000000 AS started_ms,
    strftime('%Y-%m-%dT%H:%M:%fZ', e.started_at / 1000000000.0, 'unixepoch') AS started_at,
    e.duration / 1000000.0 AS duration_ms,
    e.method AS method,
    iif(e.scheme = 0, 'http', 'https') AS scheme,
    e.host AS host,
    e.port AS port,
    e.url AS url,
    wirescope_path(e.url, e.target) AS path,
    e.http_version AS http_version,
    e.status AS status,
    e.request_content_type AS request_type,
    e.response_content_type AS response_type,
    e.request_body_bytes AS request_bytes,
    e.response_body_bytes AS response_bytes,
    e.messages AS messages,
    e.failure AS failure,
    e.failure_detail AS failure_detail,
    wirescope_fact('client_address', d.detail, f.data) AS client_address,
    wirescope_fact('upstream_address', d.detail, f.data) AS upstream_address,
    wirescope_fact('tunnel', d.detail, f.data) AS tunnel,
    wirescope_fact('tls_version', d.detail, f.data) AS tls_version,
    wirescope_fact('tls_sni', d.detail, f.data) AS tls_sni,
    wirescope_fact('tls_alpn', d.detail, f.data) AS tls_alpn,
    wirescope_fact('upstream_tls_version', d.detail, f.data) AS upstream_tls_version,
    wirescope_fact('ja3', d.detail, f.data) AS ja3,
    wirescope_fact('ja4', d.detail, f.data) AS ja4,
    wirescope_fact('wait_ms', d.detail, f.data) AS wait_ms,
    wirescope_fact('listener', d.detail, f.data) AS listener,
    wirescope_fact('user', d.detail, f.data) AS user,
    wirescope_fact('replay_of', d.detail, f.data) AS replay_of,
    wirescope_fact('parent', d.detail, f.data) AS parent,
    wirescope_fact('rules', d.detail, f.data) AS rules,
    wirescope_fact('comment', d.detail, f.data) AS comment,
    path_template(wirescope_path(e.url, e.target)) AS template,
    wirescope_fact('client_process', d.detail, f.data) AS client_process,
    wirescope_fact('client_pid', d.detail, f.data) AS client_pid
FROM main.exchanges e LEFT JOIN main.details d ON d.seq = e.seq LEFT JOIN main.facts f ON f.id = d.facts
WHERE e.session NOT IN (SELECT id FROM main.sessions WHERE hidden <> 0);

CREATE TEMP VIEW headers AS SELECT
    d.seq AS seq,
    f.value ->> 0 AS side,
    f.key AS position,
    f.value ->> 1 AS name,
    f.value ->> 2 AS value
FROM main.details d JOIN main.exchanges e ON e.seq = d.seq LEFT JOIN main.facts s ON s.id = d.facts,
    json_each(wirescope_fact('headers', d.detail, s.data)) f
WHERE e.session NOT IN (SELECT id FROM main.sessions WHERE hidden <> 0);

CREATE TEMP VIEW bodies AS SELECT
    b.id / 2 AS seq,
    iif(b.id % 2 = 0, 'req', 'resp') AS side,
    b.length AS stored_bytes,
    lower(hex(b.hash)) AS sha256,
    b.file IS NOT NULL AND (SELECT f.data IS NULL FROM main.files f WHERE f.id = b.file) AS in_file
FROM main.bodies b JOIN main.exchanges e ON e.seq = b.id / 2
WHERE e.session NOT IN (SELECT id FROM main.sessions WHERE hidden <> 0);

CREATE TEMP VIEW messages AS SELECT
    m.seq AS seq,
    m.number AS number,
    m.at / 1000000 AS at_ms,
    iif(m.direction = 0, 'client', 'upstream') AS sender,
    CASE m.kind WHEN 1 THEN 'text' WHEN 8 THEN 'close' WHEN 9 THEN 'ping' WHEN 10 THEN 'pong' ELSE 'binary' END AS kind,
    m.length AS length,
    m.flags & 1 AS truncated,
    iif(m.kind = 1, CAST(m.data AS TEXT), m.data) AS data
FROM main.messages m JOIN main.exchanges e ON e.seq = m.seq
WHERE e.session NOT IN (SELECT id FROM main.sessions WHERE hidden <> 0);
";
