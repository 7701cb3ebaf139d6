//! The options of a run, kept in its directory: `--resume` needs no others.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use gradus::nn::Parameters;
use gradus::tensor_core::io::atomic;
use gradus::train::trainer::{Callback, Flow, Run};
use serde_json::{Map, Value};

use super::args::TrainOptions;

const FILE: &str = "options.json";

/// What a run may change when it goes on: where and by how many threads it is computed, not what.
const FREE: [&str; 3] = ["device", "threads", "workers"];

/// The options of the run in a directory, with those of `given` that may differ.
///
/// # Errors
/// There is no run, its options cannot be read, or one that was given contradicts them.
pub fn resumed(dir: &Path, given: &TrainOptions) -> Result<TrainOptions, Box<dyn Error>> {
    let path = dir.join(FILE);
    let text = fs::read_to_string(&path).map_err(|e| {
        format!("{} is not the directory of a run: cannot read its {FILE}: {e}", dir.display())
    })?;
    let stored: TrainOptions = serde_json::from_str(&text)
        .map_err(|e| format!("{} does not hold a run's options: {e}", path.display()))?;
    let (mut options, given_values) = (values(&stored)?, values(given)?);
    for (name, value) in given_values.into_iter().filter(|(name, _)| given.explicit.contains(name)) {
        let before = options.get(&name).unwrap_or(&Value::Null);
        if !FREE.contains(&name.as_str()) && *before != value {
            return Err(format!(
                "--{} {} contradicts the run in {}, which has {}; leave it out, or begin a run in another directory",
                name.replace('_', "-"),
                plain(&value),
                dir.display(),
                plain(before)
            )
            .into());
        }
        options.insert(name, value);
    }
    Ok(serde_json::from_value(Value::Object(options))?)
}

/// The options by name.
fn values(options: &TrainOptions) -> Result<Map<String, Value>, Box<dyn Error>> {
    match serde_json::to_value(options)? {
        Value::Object(map) => Ok(map),
        other => Err(format!("options are a table, not {other}").into()),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Writes the options into the run's directory, once that is known to be the run's and before it does anything.
pub struct Keep(pub TrainOptions);

impl<M: Parameters> Callback<M> for Keep {
    fn on_train_start(&mut self, run: &mut Run<'_, M>) -> gradus::train::Result<Flow> {
        if let Some(dir) = run.dir {
            let text = serde_json::to_string_pretty(&self.0).map_err(gradus::train::Error::other)?;
            atomic::write(dir.join(FILE), |file| writeln!(file, "{text}"))?;
        }
        Ok(Flow::Continue)
    }
}

/// The name of data as it means the same from every directory.
pub fn anywhere(data: &str) -> Result<String, Box<dyn Error>> {
    if ["embedded", "fashion-mnist"].contains(&data) {
        return Ok(data.to_owned());
    }
    let path: PathBuf = std::path::absolute(data).map_err(|e| format!("--data {data}: {e}"))?;
    Ok(path.into_os_string().into_string().map_err(|path| format!("--data {path:?} is not Unicode"))?)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::super::args::{Arguments, Command, Model, OptimizerName};
    use super::*;

    fn parse(line: &str) -> TrainOptions {
        let words = ["gradus", "train"].into_iter().chain(line.split_whitespace());
        match Arguments::read(words).unwrap().command {
            Some(Command::Train(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    /// A directory with the options of a run that was begun with `line`.
    fn begun(line: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), serde_json::to_string(&parse(line)).unwrap()).unwrap();
        dir
    }

    #[test]
    fn a_run_goes_on_with_all_of_its_options() {
        let line = "--model mlp --data /somewhere --epochs 3 --batch-size 17 --accumulate 2 --optimizer sgd --lr 0.3 \
                    --seed 18446744073709551615 --patience 2";
        let options = resumed(begun(line).path(), &parse("")).unwrap();
        assert_eq!(values(&options).unwrap(), values(&parse(line)).unwrap());
        for model in Model::value_variants() {
            let name = model.to_possible_value().unwrap().get_name().to_owned();
            assert_eq!(resumed(begun(&format!("--model {name}")).path(), &parse("")).unwrap().model, *model);
        }
        for optimizer in OptimizerName::value_variants() {
            let name = optimizer.to_possible_value().unwrap().get_name().to_owned();
            let dir = begun(&format!("--optimizer {name}"));
            assert_eq!(resumed(dir.path(), &parse("")).unwrap().optimizer, *optimizer);
        }
    }

    #[test]
    fn an_option_that_contradicts_the_run_is_refused_and_says_both() {
        let dir = begun("--model mlp --batch-size 17 --seed 5");
        for (line, says) in [
            ("--batch-size 64", "--batch-size 64 contradicts"),
            ("--batch-size 64", "which has 17"),
            ("--model cnn", "--model cnn contradicts"),
            ("--seed 0", "which has 5"),
            ("--lr 0.1", "which has null"),
            ("--epochs 13", "which has 12"),
        ] {
            let error = resumed(dir.path(), &parse(line)).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(dir.path().to_str().unwrap()), "{error}");
        }
        assert!(resumed(dir.path(), &parse("--model mlp --batch-size 17 --seed 5")).is_ok());
    }

    #[test]
    fn threads_may_change_when_a_run_goes_on() {
        let dir = begun("--threads 3 --workers 0");
        let options = resumed(dir.path(), &parse("--threads 1 --workers 2")).unwrap();
        assert_eq!((options.threads, options.workers), (Some(1), 2));
        let options = resumed(dir.path(), &parse("")).unwrap();
        assert_eq!((options.threads, options.workers), (Some(3), 0));
    }

    #[test]
    fn a_directory_without_options_or_with_others_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = resumed(dir.path(), &parse("")).unwrap_err().to_string();
        assert!(error.contains("is not the directory of a run"), "{error}");
        for text in ["", "{}", "[1]", r#"{"model":"transformer"}"#] {
            fs::write(dir.path().join(FILE), text).unwrap();
            let error = resumed(dir.path(), &parse("")).unwrap_err().to_string();
            assert!(error.contains(FILE), "{error}");
        }
        let whole = serde_json::to_string(&parse("")).unwrap();
        fs::write(dir.path().join(FILE), whole.replacen('{', r#"{"later":1,"#, 1)).unwrap();
        assert!(resumed(dir.path(), &parse("")).unwrap_err().to_string().contains("later"));
    }

    #[test]
    fn a_folder_of_data_is_found_from_every_directory() {
        assert_eq!(anywhere("embedded").unwrap(), "embedded");
        assert!(Path::new(&anywhere("images").unwrap()).is_absolute());
    }
}
