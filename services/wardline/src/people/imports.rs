//! `wardline users import` and `devices import`: files of any size, part by part.

use super::{
    RegistryCli,
    parts::{Part, Parts},
    rows::Rows,
};
use crate::{
    opening,
    operator::{calling, plain, spelled},
};
use anyhow::{Context, anyhow, bail};
use client::Error;
use proto::registry::v1::{ImportDevicesRequest, ImportUsersRequest, RefusedRow};
use std::{
    fs::File,
    io::{BufReader, Write},
    path::Path,
};

/// What became of the rows until now.
struct Done {
    taken: Rows,
    refused: Vec<String>,
    /// Besides those that are named.
    more: i64,
}

impl Done {
    fn new(columns: &'static [&'static str]) -> Self {
        Self { taken: Rows::new(columns), refused: Vec::new(), more: 0 }
    }

    fn refuse(&mut self, refused: &[RefusedRow], more: i32, line: impl Fn(i32) -> usize) {
        let said = |row: &RefusedRow| match row.field.as_str() {
            "" => format!("line {}: {}", line(row.line), row.reason),
            field => format!("line {}: {field}: {}", line(row.line), row.reason),
        };
        self.refused.extend(refused.iter().map(said));
        self.more += i64::from(more);
    }
}

impl RegistryCli {
    /// Imports people, and prints who was taken.
    pub(super) async fn import_users(&mut self, file: &Path, out: &mut impl Write) -> anyhow::Result<()> {
        let mut done = Done::new(&["user"]);
        let ended = self.send_users(file, &mut done).await;
        self.imported(&done, ended, out)
    }

    async fn send_users(&mut self, file: &Path, done: &mut Done) -> anyhow::Result<()> {
        let mut parts = open(file)?;
        while let Some(part) = parts.next().with_context(|| spelled(file))? {
            let answer = calling!(Unbegun, self.import_users(ImportUsersRequest { csv: part.csv.clone() }));
            let answer = answer.map_err(|error| refused(error, &part))?;
            answer.user_ids.iter().for_each(|id| done.taken.push([id]));
            done.refuse(&answer.refused, answer.refused_more, |line| part.line(line));
        }
        Ok(())
    }

    /// Imports devices, and prints their claim codes.
    pub(super) async fn import_devices(&mut self, file: &Path, out: &mut impl Write) -> anyhow::Result<()> {
        let mut done = Done::new(&["device", "claim_code"]);
        let ended = self.send_devices(file, &mut done).await;
        self.imported(&done, ended, out)
    }

    async fn send_devices(&mut self, file: &Path, done: &mut Done) -> anyhow::Result<()> {
        let mut parts = open(file)?;
        while let Some(part) = parts.next().with_context(|| spelled(file))? {
            let answer = calling!(Unbegun, self.import_devices(ImportDevicesRequest { csv: part.csv.clone() }));
            let answer = answer.map_err(|error| refused(error, &part))?;
            answer.claim_codes.iter().for_each(|one| done.taken.push([&one.device_id, &one.claim_code]));
            done.refuse(&answer.refused, answer.refused_more, |line| part.line(line));
        }
        Ok(())
    }

    /// Prints what an import took and, after it, what it did not. What was taken before an error is in force, and shown: claim
    /// codes are not to be had again.
    fn imported(&self, done: &Done, ended: anyhow::Result<()>, out: &mut impl Write) -> anyhow::Result<()> {
        done.taken.print(self.format, out)?;
        let mut lines = done.refused.clone();
        if done.more > 0 {
            lines.push(format!("and {} more: mend these and import what is left", done.more));
        }
        let n = done.refused.len() as i64 + done.more;
        let refused = || format!("{n} rows were refused, the others are in force:\n  {}", lines.join("\n  "));
        match ended {
            Ok(()) if n == 0 => Ok(()),
            Ok(()) => bail!("{}", refused()),
            Err(error) if n == 0 => Err(error.context("the import ended early; what is printed is in force")),
            Err(error) => Err(error.context(format!("the import ended early; {}", refused()))),
        }
    }
}

fn open(file: &Path) -> anyhow::Result<Parts<BufReader<File>>> {
    let shown = || spelled(file);
    Parts::new(BufReader::new(opening::open(file).with_context(shown)?)).with_context(shown)
}

/// Why a part was refused as a whole, with the line that the file has.
fn refused(error: Error, part: &Part) -> anyhow::Error {
    match &error {
        Error::Refused(status) if error.reason().as_deref() == Some("INVALID_CSV") => {
            anyhow!("{} ({:?})", part.in_file(status.message()), status.code())
        }
        _ => plain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::problem;
    use std::sync::Arc;

    #[test]
    fn a_pipe_that_nobody_writes_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("people.csv");
        std::fs::write(&path, "name\nA\n").unwrap();
        assert!(open(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = format!("{:#}", open(&path).err().unwrap());
        assert!(error.contains("people.csv: it is no plain file; give one"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_the_structure_is_said_with_the_files_line() {
        let far = format!("name\n{}a \"b\" c\n", "\n".repeat(1_100));
        for (text, of_part, said) in [
            (far.as_str(), "line 102: a cell", "csv: line 1102: a cell (InvalidArgument)"),
            ("\n\nname\nA \"x\" y\n", "line 2: a cell", "csv: line 4: a cell (InvalidArgument)"),
            ("\n\nsep=;\nname;x\n", "line 1: no heading", "csv: line 3: no heading (InvalidArgument)"),
            ("\nname;x\n", "separated by semicolons", "csv: separated by semicolons (InvalidArgument)"),
        ] {
            let mut parts = Parts::new(text.as_bytes()).unwrap();
            let last = std::iter::from_fn(|| parts.next().unwrap()).last().unwrap();
            let status = problem::invalid("INVALID_CSV", "csv", of_part);
            assert_eq!(refused(Error::Refused(Arc::new(status)), &last).to_string(), said);
        }
    }
}
