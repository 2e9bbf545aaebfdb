//! Brings a database to the schema of this program, forward only, one numbered step at a time.
//!
//! Each step is a file in `migrations/` and runs in a transaction of its own together with its row
//! in `migration`. The row keeps the text of the step, so a step that was edited after it was
//! applied somewhere is noticed instead of guessed.

use crate::error::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// `GRML`: marks the file as ours.
const APPLICATION_ID: i32 = 0x4752_4d4c;

/// One step: number `n` in the list leads to schema `n`.
pub(crate) struct Step {
    pub name: &'static str,
    pub sql: &'static str,
}

/// All steps. New ones are added at the end; none is ever edited.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "books", sql: include_str!("../migrations/0001_books.sql") },
    Step { name: "deleted_jobs", sql: include_str!("../migrations/0002_deleted_jobs.sql") },
    Step { name: "notices", sql: include_str!("../migrations/0003_notices.sql") },
    Step { name: "batches", sql: include_str!("../migrations/0004_batches.sql") },
    Step { name: "history", sql: include_str!("../migrations/0005_history.sql") },
    Step {
        name: "history_by_cluster",
        sql: include_str!("../migrations/0006_history_by_cluster.sql"),
    },
    Step { name: "segment_span", sql: include_str!("../migrations/0007_segment_span.sql") },
];

const LEDGER: &str = "CREATE TABLE IF NOT EXISTS migration (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    sql    TEXT NOT NULL
) STRICT";

/// Applies the steps that are missing. A newer, an altered or a foreign database is refused
/// before anything is changed.
pub(crate) fn migrate(
    connection: &mut Connection,
    path: &Path,
    steps: &[Step],
) -> Result<(), StoreError> {
    claim(connection, path)?;
    let applied = applied(connection)?;
    if applied.len() > steps.len() {
        return Err(StoreError::Newer { found: count(&applied), known: count(steps) });
    }
    for (at, (sql, step)) in applied.iter().zip(steps).enumerate() {
        if sql != step.sql {
            return Err(StoreError::Altered { number: at as u32 + 1 });
        }
    }
    for (at, step) in steps.iter().enumerate().skip(applied.len()) {
        let number = at as u32 + 1;
        take(connection, number, step).map_err(|source| StoreError::Migrate { number, source })?;
        tracing::info!(number, name = step.name, "database schema brought up");
    }
    Ok(())
}

/// An empty file becomes ours; a file with other tables is somebody else's.
fn claim(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let read = |source| StoreError::read("the header of the database", source);
    let id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(read)?;
    if id == APPLICATION_ID {
        return Ok(());
    }
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(read)?;
    if id != 0 || tables != 0 {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(|source| StoreError::write("mark the database as ours", source))
}

/// The texts of the steps that were applied, in order.
fn applied(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let read = |source| StoreError::read("the schema of the database", source);
    connection
        .execute_batch(LEDGER)
        .map_err(|source| StoreError::write("start the list of schema steps", source))?;
    let mut rows = connection.prepare("SELECT sql FROM migration ORDER BY number").map_err(read)?;
    rows.query_map([], |row| row.get(0)).map_err(read)?.collect::<Result<_, _>>().map_err(read)
}

fn take(connection: &mut Connection, number: u32, step: &Step) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    transaction.execute_batch(step.sql)?;
    transaction.execute(
        "INSERT INTO migration (number, name, sql) VALUES (?1, ?2, ?3)",
        (number, step.name, step.sql),
    )?;
    transaction.commit()
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Connection {
        Connection::open_in_memory().expect("opens")
    }

    fn bring_up(connection: &mut Connection, steps: &[Step]) -> Result<(), StoreError> {
        migrate(connection, Path::new("test.db"), steps)
    }

    fn tables(connection: &Connection) -> Vec<String> {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
        let mut rows = connection.prepare(sql).expect("prepared");
        let names = rows.query_map([], |row| row.get(0)).expect("queried");
        names.map(|name| name.expect("a name")).collect()
    }

    #[test]
    fn every_older_schema_is_brought_up_with_its_content() {
        for older in 1..STEPS.len() {
            let mut old = memory();
            bring_up(&mut old, &STEPS[..older]).expect("made");
            old.execute("INSERT INTO journal VALUES (1, 2, 1, '{}')", []).expect("written");
            old.execute("INSERT INTO entity VALUES ('job/a', x'31')", []).expect("written");
            bring_up(&mut old, STEPS).expect("brought up");

            let mut new = memory();
            bring_up(&mut new, STEPS).expect("made");
            assert_eq!(tables(&old), tables(&new), "from schema {older}");
            let rows: i64 = old
                .query_row("SELECT count(*) FROM journal, entity", [], |row| row.get(0))
                .expect("counted");
            assert_eq!(rows, 1, "from schema {older}");
        }
    }

    /// Before step 6 the clusters of a job stood only in a text, each between blanks.
    #[test]
    fn a_history_of_before_is_counted_and_listed_by_cluster() {
        let mut connection = memory();
        bring_up(&mut connection, &STEPS[..5]).expect("made");
        let rows = [(1, ""), (2, " cls-a "), (3, " cls-a  cls-b "), (4, " cls-b  cls-b ")];
        for (job, clusters) in rows {
            let sql = "INSERT INTO history VALUES (?1, 7, 1, ?2, x'00')";
            connection.execute(sql, ([job], clusters)).expect("written");
        }
        bring_up(&mut connection, STEPS).expect("brought up");
        let sql = "SELECT cluster, hex(job) FROM history_of_cluster ORDER BY cluster, job";
        let mut listed = connection.prepare(sql).expect("prepared");
        let listed = listed.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("queried");
        let listed: Vec<(String, String)> = listed.map(|row| row.expect("a row")).collect();
        let wanted = [("cls-a", "02"), ("cls-a", "03"), ("cls-b", "03"), ("cls-b", "04")];
        assert_eq!(listed, wanted.map(|(cluster, job)| (cluster.to_owned(), job.to_owned())));
        let jobs: i64 = connection
            .query_row("SELECT jobs FROM history_size", [], |row| row.get(0))
            .expect("counted");
        assert_eq!(jobs, 4);
    }

    #[test]
    fn bringing_up_twice_changes_nothing() {
        let mut connection = memory();
        bring_up(&mut connection, STEPS).expect("made");
        let before = connection.total_changes();
        bring_up(&mut connection, STEPS).expect("as it was");
        assert_eq!(connection.total_changes(), before);
    }

    #[test]
    fn a_newer_schema_is_refused_with_both_numbers() {
        let mut connection = memory();
        bring_up(&mut connection, STEPS).expect("made");
        let error = bring_up(&mut connection, &STEPS[..1]).expect_err("refused").to_string();
        let found = format!("has schema {}, this release knows up to 1", STEPS.len());
        assert!(error.contains(&found), "{error}");
    }

    #[test]
    fn an_edited_step_is_noticed() {
        let mut connection = memory();
        bring_up(&mut connection, STEPS).expect("made");
        let mut edited: Vec<_> =
            STEPS.iter().map(|step| Step { name: step.name, sql: step.sql }).collect();
        edited[1].sql = "SELECT 1";
        let error = bring_up(&mut connection, &edited).expect_err("refused");
        assert!(matches!(error, StoreError::Altered { number: 2 }), "{error}");
    }

    #[test]
    fn a_failed_step_leaves_the_schema_before_it() {
        let mut connection = memory();
        let good = || Step { name: "good", sql: "CREATE TABLE a (x INTEGER) STRICT" };
        let bad = "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1)";
        bring_up(&mut connection, &[good()]).expect("made");
        let steps = [good(), Step { name: "bad", sql: bad }];
        let error = bring_up(&mut connection, &steps).expect_err("fails");
        assert!(matches!(error, StoreError::Migrate { number: 2, .. }), "{error}");
        assert_eq!(tables(&connection), ["a", "migration"]);
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let mut connection = memory();
        connection.execute_batch("CREATE TABLE theirs (x)").expect("made");
        let error = bring_up(&mut connection, STEPS).expect_err("refused");
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert_eq!(tables(&connection), ["theirs"]);
    }
}
