"""Every SQL statement of the ledger, each with what it is for. Nothing else knows the tables."""

SCHEMA_VERSION = 3

FILE_COLUMNS = (
    "path", "folder", "kind", "key", "state", "proof", "size", "mtime_ns", "inode", "sha256", "step", "source",
    "upload_url", "attempts", "next_try", "error", "first_seen",
)  # fmt: skip
STORED_COLUMNS = ("key", "path", "kind", "sha256", "size", "mtime", "version", "step", "at", "sure")


def _seal(columns: tuple[str, ...]) -> str:
    """Return the column that seals a row: SQLite finds torn pages, but not a digit that has become another one.

    SQLite keeps it right with every change and compares it in its integrity check.
    """
    told = f"seal_of({', '.join(columns)})"
    return f"seal INTEGER GENERATED ALWAYS AS ({told}) STORED CHECK (seal = {told})"


SCHEMA = f"""
CREATE TABLE files (
    path        BLOB PRIMARY KEY,   -- below output/, as the file system's own bytes
    folder      BLOB NOT NULL,
    kind        TEXT NOT NULL,
    key         TEXT NOT NULL UNIQUE,
    state       TEXT NOT NULL,
    proof       TEXT NOT NULL,      -- why this version was taken as complete
    size        INTEGER NOT NULL,   -- the version that is to be delivered, or was
    mtime_ns    INTEGER NOT NULL,
    inode       INTEGER NOT NULL,
    sha256      TEXT,
    step        INTEGER,
    source      TEXT,               -- where the bytes lie when not at path: the spool
    upload_url  TEXT,
    attempts    INTEGER NOT NULL DEFAULT 0,
    next_try    REAL NOT NULL DEFAULT 0,
    error       TEXT,
    first_seen  REAL NOT NULL,
    {_seal(FILE_COLUMNS)}
) WITHOUT ROWID;
CREATE INDEX files_by_folder ON files (folder);
CREATE INDEX files_by_state ON files (state, kind, first_seen);
CREATE INDEX files_in_turn ON files (state, kind = 'log', first_seen);
CREATE INDEX files_by_size ON files (state, size);
CREATE TABLE stored (
    key     TEXT PRIMARY KEY,       -- what the bucket holds, by the server's own record
    path    BLOB NOT NULL,
    kind    TEXT NOT NULL,
    sha256  TEXT NOT NULL,
    size    INTEGER NOT NULL,
    mtime   REAL NOT NULL,
    version TEXT,
    step    INTEGER,
    at      REAL NOT NULL,
    sure    INTEGER NOT NULL DEFAULT 1,  -- 0: another version may have reached the key since
    {_seal(STORED_COLUMNS)}
) WITHOUT ROWID;
CREATE TABLE objects (
    key  TEXT PRIMARY KEY,          -- what lay under the prefix when this ledger was made
    size INTEGER NOT NULL,
    etag TEXT
) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

# SQLite keeps the statements that made the tables, word for word.
MADE_OF = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"

# Write-ahead logging needs shared memory, which network volumes do not have; an exclusive lock needs none.
PRAGMAS = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -2048",
    "PRAGMA temp_store = MEMORY",
    # The seal is a function of this program's.
    "PRAGMA trusted_schema = ON",
)


def _rows(index: str = "") -> str:
    """Return how files are read, in the order of ``uploader.rows.Row``. ``index``: the only one that may be used."""
    by = f"INDEXED BY {index}" if index else ""
    return f"""
    SELECT {", ".join(f"files.{column}" for column in FILE_COLUMNS)}, stored.sha256 AS stored_sha256,
        stored.size AS stored_size, stored.mtime AS stored_mtime, stored.version AS stored_version,
        stored.step AS stored_step, stored.at AS stored_at
    FROM files {by} LEFT JOIN stored ON stored.key = files.key AND stored.sure
    """  # noqa: S608 - put together of constants alone


_ROWS = _rows()
FILE = f"{_ROWS} WHERE files.path = ?"
KNOWN = "SELECT path, state, size, mtime_ns, inode FROM files WHERE path = ?"
IN_FOLDER = """
SELECT path, state, size, mtime_ns, inode FROM files WHERE folder = ? AND path > ? ORDER BY path LIMIT ?
"""
# A key belongs to its file here, or to one that lies in the bucket alone.
KEY_OWNER = "SELECT path FROM files WHERE key = :key UNION ALL SELECT path FROM stored WHERE key = :key LIMIT 1"
# Another file has turned out to lie there; a file that is not being sent can still go elsewhere.
MAKE_WAY = "UPDATE OR IGNORE files SET key = ? WHERE path = ? AND state = 'ready'"

# A version that has settled: a new file, or a new version of a known one. What the bucket holds stays on record.
SETTLED = """
INSERT INTO files (path, folder, kind, key, state, proof, size, mtime_ns, inode, step, source, first_seen)
VALUES (:path, :folder, :kind, :key, 'ready', :proof, :size, :mtime_ns, :inode, :step, :source, :now)
ON CONFLICT (path) DO UPDATE SET
    key = excluded.key, state = 'ready', proof = excluded.proof, size = excluded.size, mtime_ns = excluded.mtime_ns,
    inode = excluded.inode, step = excluded.step, source = excluded.source, sha256 = NULL, upload_url = NULL,
    attempts = 0, next_try = 0, error = NULL, first_seen = :now
"""

# It is sealed without what has settled only now; one that is being sent is not taken for delivered when it has arrived.
SEAL_ANEW = """
UPDATE files SET state = 'ready', attempts = 0, next_try = 0, error = NULL
WHERE path = ? AND mtime_ns >= ? AND kind = 'checkpoint' AND state IN ('sending', 'delivered', 'failed')
"""

# What may be sent now, in the order of its lane; the caller excludes what is in flight. ai-toolkit writes its
# aitk_meta.yaml last into a checkpoint's folder, and so it comes last into the bucket, when none of the others waits.
_SMALL = """
WHERE state = 'ready' AND next_try <= :now AND files.size <= :limit AND files.kind != 'optimizer'
    AND NOT (CAST(files.path AS TEXT) LIKE '%/aitk_meta.yaml' AND EXISTS (
        SELECT 1 FROM files AS other
        WHERE other.state IN ('ready', 'sending') AND other.path != files.path
            AND substr(other.path, 1, length(files.folder) + 1) = CAST(files.folder || '/' AS BLOB)))
"""
# Of ten thousand that wait only the first are read: the order is the index's.
NEXT_SMALL = f"{_rows('files_in_turn')} {_SMALL} ORDER BY files.kind = 'log', first_seen LIMIT :count"
# At the drain they go before all others.
NEXT_SMALL_CHECKPOINTS = f"""
{_rows("files_by_state")} {_SMALL} AND files.kind = 'checkpoint' ORDER BY mtime_ns DESC LIMIT :count
"""
NEXT_LARGE_OLDEST = f"""
{_rows("files_by_size")}
WHERE state = 'ready' AND next_try <= :now AND files.size > :limit AND files.kind != 'optimizer'
ORDER BY first_seen LIMIT :count
"""
# At the drain: the newest checkpoint, all parts of it, the optimizer state that belongs to it, then the rest from new
# to old. A checkpoint that is lost is not the newest of anything.
NEXT_LARGE_NEWEST = f"""
WITH newest AS (
    SELECT mtime_ns, step FROM files WHERE kind = 'checkpoint' AND state IN ('ready', 'sending', 'delivered')
    ORDER BY mtime_ns DESC LIMIT 1
)
{_ROWS} WHERE next_try <= :now AND files.path IN (
    SELECT path FROM files INDEXED BY files_by_size WHERE state = 'ready' AND size > :limit
    UNION SELECT path FROM files WHERE state = 'ready' AND kind = 'optimizer'
)
ORDER BY files.kind = 'checkpoint' AND EXISTS (
        SELECT 1 FROM newest WHERE newest.mtime_ns = files.mtime_ns OR newest.step = files.step
    ) DESC,
    files.kind = 'optimizer' DESC, mtime_ns DESC LIMIT :count
"""  # noqa: S608 - put together of constants alone
NEXT_OPTIMIZER = f"{_ROWS} WHERE state = 'ready' AND next_try <= :now AND files.kind = 'optimizer' LIMIT :count"

START = "UPDATE files SET state = 'sending' WHERE path = ? AND state IN ('ready', 'sending')"
HASHED = "UPDATE files SET sha256 = ? WHERE path = ? AND size = ? AND mtime_ns = ? AND inode = ?"
UPLOAD_URL = "UPDATE files SET upload_url = ? WHERE path = ? AND size = ? AND mtime_ns = ? AND inode = ?"

# The server's record agrees with the version: it is delivered. A version that settled meanwhile stays ready.
DELIVERED = """
UPDATE files SET state = 'delivered', sha256 = :sha256, upload_url = NULL, attempts = 0, next_try = 0, error = NULL,
    source = NULL
WHERE path = :path AND state = 'sending' AND size = :size AND mtime_ns = :mtime_ns AND inode = :inode
"""
STORED = """
INSERT OR REPLACE INTO stored (key, path, kind, sha256, size, mtime, version, step, at)
VALUES (:key, :path, :kind, :sha256, :size, :mtime, :version, :step, :at)
"""
# What an earlier session of the same training left; what this one has sent is newer, and what it is about to send may
# be there already.
INHERITED = """
INSERT OR IGNORE INTO stored (key, path, kind, sha256, size, mtime, version, step, at, sure)
VALUES (:key, :path, :kind, :sha256, :size, :mtime, :version, :step, :at,
    NOT EXISTS (SELECT 1 FROM files WHERE files.key = :key))
"""
# Before anything is sent to a key that holds an older version; a delivery that is proved makes it sure again.
DOUBT = "UPDATE stored SET sure = 0 WHERE key = ?"
# What a handler may restore from, and so put aside. What becomes of a key to which a file is about to be sent, its
# delivery says.
RESTORABLE = """
SELECT * FROM stored WHERE sure AND (key LIKE 'checkpoints/%' OR key LIKE 'logs/%')
    AND NOT EXISTS (SELECT 1 FROM files WHERE files.key = stored.key AND files.state IN ('ready', 'sending'))
"""
STILL_RESTORABLE = f"{RESTORABLE} AND key = :key AND version IS :version AND sha256 = :sha256"
DOUBT_EVERYTHING = "UPDATE stored SET sure = 0"
TRUST = "UPDATE stored SET sure = 1 WHERE key = ?"
FORGET = "DELETE FROM stored WHERE key = ?"
# Nobody knows what lies there now, so the file that it came from is sent again.
SEND_AGAIN = "UPDATE files SET state = 'ready', next_try = 0 WHERE key = ? AND state = 'delivered'"
# What lay in the bucket alone and does no longer can be sent by nobody.
OVERWRITTEN = """
INSERT OR IGNORE INTO files (path, folder, kind, key, state, proof, size, mtime_ns, inode, step, error, first_seen)
SELECT path, :folder, kind, key, 'gone', 'ended', size, CAST(mtime * 1e9 AS INTEGER), 0, step, :error, at
FROM stored WHERE key = :key
"""
DOUBTFUL = "SELECT * FROM stored WHERE NOT sure ORDER BY key"
RETRY_LATER = """
UPDATE files SET state = 'ready', attempts = :attempts, next_try = :next_try, error = :error
WHERE path = :path AND state = 'sending'
"""
END = "UPDATE files SET state = :state, error = :error, upload_url = NULL WHERE path = :path AND state = :old"
REFUSED = """
INSERT INTO files (path, folder, kind, key, state, proof, size, mtime_ns, inode, error, first_seen)
VALUES (:path, :folder, :kind, :key, 'failed', 'ended', :size, :mtime_ns, :inode, :error, :now)
ON CONFLICT (path) DO UPDATE SET state = 'failed', error = excluded.error, size = excluded.size,
    mtime_ns = excluded.mtime_ns, inode = excluded.inode
"""
REVIVE = "UPDATE files SET state = 'ready', attempts = 0, next_try = 0, error = NULL WHERE state = 'failed'"
# Storage is back after an outage: what met it need not sit out its pause.
HURRY = "UPDATE files SET next_try = 0 WHERE state = 'ready'"
# After a restart nothing is in flight, and nothing waits for an attempt that this process did not make. A copy taken
# from an owner who was writing may lack what proves a delivery. What was being sent may have arrived.
RECOVER = """
UPDATE files SET state = 'ready', next_try = 0, attempts = attempts + (state = 'sending')
WHERE state IN ('ready', 'sending') OR (state = 'delivered' AND key NOT IN (SELECT key FROM stored))
"""

# Everything else below the folder of a file.
BESIDE = "SELECT path, key, state, sha256 FROM files WHERE path > :start AND path < :end AND path != :path"

TOTALS = "SELECT state, count(*), coalesce(sum(size), 0) FROM files GROUP BY state"
WAITS = "SELECT 1 FROM files WHERE state IN ('ready', 'sending') LIMIT 1"
UNDELIVERED = f"{_ROWS} WHERE state != 'delivered' ORDER BY files.path"
TROUBLED = f"""
{_ROWS} WHERE state IN ('failed', 'gone') OR (state = 'ready' AND error IS NOT NULL) ORDER BY files.path LIMIT ?
"""
# What did not go well first, then what weighs most.
MISSING = f"""
{_ROWS} WHERE state != 'delivered'
ORDER BY state NOT IN ('failed', 'gone'), files.kind != 'checkpoint', files.path LIMIT ?
"""
WAITING_CHECKPOINTS = f"""
{_ROWS} WHERE state IN ('ready', 'sending') AND files.kind = 'checkpoint' AND files.source IS NULL
ORDER BY first_seen LIMIT ?
"""
CHECKPOINTS = f"{_ROWS} WHERE files.kind = 'checkpoint' AND files.step IS NOT NULL"
ALL_STORED = "SELECT * FROM stored WHERE key > ? ORDER BY key LIMIT ?"
NEWEST_STORED = "SELECT * FROM stored WHERE kind = ? ORDER BY mtime DESC, key DESC LIMIT ?"
STORED_TOTAL = "SELECT count(*), coalesce(sum(size), 0) FROM stored"
OLDEST_WAITING_CHECKPOINT = """
SELECT min(first_seen) FROM files WHERE kind = 'checkpoint' AND state IN ('ready', 'sending')
"""

# The trainer's word may come after the file has settled: the step of a version that is not older than its saving.
STAMP = "UPDATE files SET step = ? WHERE path = ? AND step IS NULL AND mtime_ns <= ? AND state = 'ready'"
SPOOLED = """
UPDATE files SET source = ? WHERE path = ? AND size = ? AND mtime_ns = ? AND inode = ?
    AND state IN ('ready', 'sending', 'failed')
"""
SPOOLED_FILES = f"{_ROWS} WHERE state IN ('ready', 'sending', 'failed') AND files.source IS NOT NULL"
# A file that was there and gone before anybody saw it; one that is known after all stays as it is.
NEVER_SEEN = """
INSERT OR IGNORE INTO files (path, folder, kind, key, state, proof, size, mtime_ns, inode, error, first_seen)
VALUES (:path, :folder, :kind, :key, 'gone', 'saved', :size, :mtime_ns, :inode, :error, :now)
"""
BEGINS_WITH = "SELECT 1 FROM files WHERE path >= :start AND path < :end LIMIT 1"
SOURCES = "SELECT source FROM files WHERE source IS NOT NULL"
# A folder that could not be read, and now can.
CLEARED = "DELETE FROM files WHERE path = ? AND state = 'failed'"

KNOWN_OBJECT = "SELECT size, etag FROM objects WHERE key = ?"
ADD_OBJECT = "INSERT OR REPLACE INTO objects (key, size, etag) VALUES (?, ?, ?)"
FACT = "SELECT value FROM facts WHERE name = ?"
SET_FACT = "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)"
