-- What the clocks said last, and how long servers have run on this catalog. One row.

-- `reference` is the reading that the wall clock is compared with, `suspect` the first one of a clock that is not trusted.
-- Earlier versions noted no time: their newest row tells when the catalog was in use, and that is compared with the clock.
CREATE TABLE clock (
    clock_key INTEGER PRIMARY KEY CHECK (clock_key = 1),
    reference_wall_ms INTEGER,
    reference_boot_ms INTEGER CHECK ((reference_boot_ms IS NULL) = (reference_wall_ms IS NULL)),
    reference_boot_id TEXT CHECK ((reference_boot_id IS NULL) = (reference_wall_ms IS NULL)),
    last_ms INTEGER CHECK ((last_ms IS NULL) = (reference_wall_ms IS NULL)),
    suspect_wall_ms INTEGER CHECK (suspect_wall_ms IS NULL OR reference_wall_ms IS NOT NULL),
    suspect_boot_ms INTEGER CHECK ((suspect_boot_ms IS NULL) = (suspect_wall_ms IS NULL)),
    suspect_boot_id TEXT CHECK ((suspect_boot_id IS NULL) = (suspect_wall_ms IS NULL)),
    expected_ms INTEGER CHECK ((expected_ms IS NULL) = (suspect_wall_ms IS NULL)),
    running_ms INTEGER,
    due_running_ms INTEGER CHECK ((due_running_ms IS NULL) = (running_ms IS NULL)),
    run_offset_ms INTEGER NOT NULL DEFAULT 0,
    checksum INTEGER -- of the other columns, from the first change on
) STRICT;

INSERT INTO clock (clock_key) VALUES (1);

UPDATE clock SET reference_wall_ms = newest_ms, reference_boot_ms = 0, reference_boot_id = '', last_ms = newest_ms
FROM (
    SELECT max(at_ms) AS newest_ms FROM (
        SELECT max(max(started_at_ms, coalesce(completed_at_ms, 0))) AS at_ms FROM snapshot
        UNION ALL SELECT max(created_at_ms) FROM kms_key
    )
) WHERE newest_ms IS NOT NULL;

-- Seals and copies that failed and are tried again; over as soon as the snapshot's state changes.
CREATE TABLE failing_work (
    snapshot_key INTEGER PRIMARY KEY REFERENCES snapshot (snapshot_key) ON DELETE CASCADE,
    failure_count INTEGER NOT NULL CHECK (failure_count > 0),
    first_failed_ms INTEGER NOT NULL,
    message TEXT NOT NULL
) STRICT;

CREATE TRIGGER failing_work_is_over AFTER UPDATE OF state ON snapshot WHEN NEW.state <> OLD.state
BEGIN
    DELETE FROM failing_work WHERE snapshot_key = NEW.snapshot_key;
END;
