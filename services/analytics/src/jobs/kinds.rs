//! What a job can do: its kinds, and the parameters that each takes.

use super::work::Work;
use async_trait::async_trait;
use model::access::{Action, Principal};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};
use tonic::Status;

/// What a parameter may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// A text of 1 to so many characters.
    Text(usize),
    /// A whole number in a range, ends included.
    Integer(i64, i64),
    /// One of these words.
    Choice(Vec<String>),
}

impl Range {
    /// One of these words.
    pub fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        Self::Choice(words.into_iter().map(str::to_owned).collect())
    }
}

/// A parameter of a kind.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its key among the parameters of a submission.
    pub name: String,
    /// What it may be.
    pub takes: Range,
    /// What it is when it is not given; `None`: it must be given.
    pub default: Option<String>,
    /// What it says, for whoever submits.
    pub about: String,
}

/// Parameters of a job, each as its kind says.
pub type Parameters = BTreeMap<String, String>;

/// A parameter, if it was given: `-` stands for none.
pub fn given<'p>(parameters: &'p Parameters, name: &str) -> Option<&'p str> {
    parameters.get(name).map(String::as_str).filter(|text| *text != "-")
}

/// What an attempt came to.
#[derive(Debug, Default)]
pub struct Done {
    /// As JSON, at most [`super::step::RESULT_BYTES`].
    pub result: Value,
    /// Rows that it read, and rows that it wrote.
    pub rows: (u64, u64),
    /// Versions of the data sets that it read, by kind.
    pub data_versions: BTreeMap<String, String>,
    /// Seed of what was random in it.
    pub seed: u64,
}

/// Why an attempt failed, for whoever submitted it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It would fail again.
    #[error("{0}")]
    Final(String),
    /// It may go better next time.
    #[error("{0}")]
    Again(String),
    /// It may go better next time, but not before others are ready for it.
    #[error("{text}")]
    Later {
        /// Why it failed.
        text: String,
        /// How long after the failure the next attempt begins at the earliest; the job's own pause may be longer.
        after: Duration,
    },
}

impl Failure {
    /// Of an error after which it would fail again.
    pub fn for_good(error: impl fmt::Display) -> Self {
        Self::Final(error.to_string())
    }

    /// Of an error after which it may go better next time.
    pub fn again(error: impl fmt::Display) -> Self {
        Self::Again(error.to_string())
    }
}

/// Something that a job can do.
#[async_trait]
pub trait Kind: Send + Sync {
    /// Its name: lower-case letters, digits and `_`.
    fn name(&self) -> &str;

    /// What it does, in one line.
    fn about(&self) -> &str;

    /// What it takes.
    fn parameters(&self) -> Vec<Parameter>;

    /// Other words by which a job of it is submitted ([`Kinds::routed`]), beside its name.
    fn routes(&self) -> Vec<Route> {
        Vec::new()
    }

    /// What its submitter needs permission for, beside submitting jobs.
    fn needs(&self) -> Action;

    /// What is wrong with parameters of which each by itself is in its range.
    ///
    /// # Errors
    /// The first that does not fit.
    fn fits(&self, _parameters: &Parameters) -> Result<(), Unfit> {
        Ok(())
    }

    /// Whether a caller who has [`Kind::needs`] may submit this, for kinds that are about more than the system. A refusal is
    /// written down; `detail` names the job.
    ///
    /// # Errors
    /// As permission is refused elsewhere.
    async fn admits(&self, _caller: &Principal, _parameters: &Parameters, _detail: &str) -> Result<(), Status> {
        Ok(())
    }

    /// The same of who wants the rows of a job that succeeded with `result`.
    ///
    /// # Errors
    /// As [`Kind::admits`]; and what has changed since.
    async fn gives(&self, caller: &Principal, job: (&Parameters, &Value), detail: &str) -> Result<(), Status> {
        self.admits(caller, job.0, detail).await
    }

    /// Does it. It may be called twice at once for one job, when a worker was thought lost: it must keep what it makes apart by
    /// [`Work::attempt_id`], and only what it returns counts.
    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure>;
}

/// A word by which a job is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The word: lower-case letters, digits and `_`.
    pub word: String,
    /// Parameters that it stands for.
    pub fixed: Parameters,
    /// Parameters whose values follow the word, each after a hyphen.
    pub positional: Vec<String>,
}

/// All kinds, by name.
#[derive(Clone, Default)]
pub struct Kinds(Arc<HashMap<String, Arc<dyn Kind>>>);

/// What is wrong with a submission: the field, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text}")]
pub struct Unfit {
    /// `kind`, or `parameters.NAME`.
    pub field: String,
    /// What it must be.
    pub text: String,
}

impl Kinds {
    /// Kinds by their names; of two with one name the last is kept.
    pub fn new(kinds: impl IntoIterator<Item = Arc<dyn Kind>>) -> Self {
        Self(Arc::new(kinds.into_iter().map(|kind| (kind.name().to_owned(), kind)).collect()))
    }

    /// The kind of a name.
    ///
    /// # Errors
    /// There is none; all names are given.
    pub fn find(&self, name: &str) -> Result<&Arc<dyn Kind>, Unfit> {
        self.0.get(name).ok_or_else(|| {
            let mut names: Vec<_> = self.0.keys().map(String::as_str).collect();
            names.sort_unstable();
            Unfit { field: "kind".to_owned(), text: format!("must be one of {}", names.join(", ")) }
        })
    }

    /// The kind and the parameters of a word with values after hyphens, as in `get_sites_by_state-TX`. The last value may have
    /// hyphens itself.
    ///
    /// # Errors
    /// There is no such word.
    pub fn routed(&self, text: &str) -> Result<(String, Parameters), Unfit> {
        let (word, values) = text.split_once('-').map_or((text, None), |(word, values)| (word, Some(values)));
        let own = |kind: &dyn Kind| Route {
            word: kind.name().to_owned(),
            fixed: Parameters::new(),
            positional: kind.parameters().into_iter().map(|parameter| parameter.name).collect(),
        };
        let routes = self
            .all()
            .into_iter()
            .flat_map(|kind| std::iter::once(own(kind.as_ref())).chain(kind.routes()).map(move |route| (kind, route)));
        let mut words = Vec::new();
        for (kind, route) in routes {
            if route.word == word {
                let values = values.map(|values| values.splitn(route.positional.len().max(1), '-'));
                let named = route.positional.into_iter().zip(values.into_iter().flatten().map(str::to_owned));
                return Ok((kind.name().to_owned(), route.fixed.into_iter().chain(named).collect()));
            }
            words.push(route.word);
        }
        Err(Unfit { field: "route".to_owned(), text: format!("must begin with one of {}", words.join(", ")) })
    }

    /// All of them, ascending by name.
    pub fn all(&self) -> Vec<&Arc<dyn Kind>> {
        let mut all: Vec<_> = self.0.values().collect();
        all.sort_unstable_by_key(|kind| kind.name().to_owned());
        all
    }
}

/// The parameters of a job as its kind takes them, with defaults.
///
/// # Errors
/// The first that is missing, unknown or out of its range.
pub fn checked(takes: &[Parameter], given: &Parameters) -> Result<Parameters, Unfit> {
    if let Some(unknown) = given.keys().find(|name| takes.iter().all(|parameter| parameter.name != **name)) {
        let names: Vec<_> = takes.iter().map(|parameter| parameter.name.as_str()).collect();
        let text = match names.is_empty() {
            true => "this kind takes none".to_owned(),
            false => format!("unknown; this kind takes {}", names.join(", ")),
        };
        return Err(Unfit { field: format!("parameters.{}", model::escaped(unknown)), text });
    }
    let mut all = Parameters::new();
    for parameter in takes {
        let value = given.get(&parameter.name).or(parameter.default.as_ref());
        let unfit = |text: String| Unfit { field: format!("parameters.{}", parameter.name), text };
        let value = value.ok_or_else(|| unfit(format!("must be given: {}", parameter.range())))?;
        if !parameter.is_in_range(value) {
            return Err(unfit(format!("must be {}", parameter.range())));
        }
        all.insert(parameter.name.clone(), value.clone());
    }
    Ok(all)
}

impl Parameter {
    /// One that has a default, or must be given.
    pub fn new(name: &str, takes: Range, default: Option<&str>, about: &str) -> Self {
        Self { name: name.to_owned(), takes, default: default.map(str::to_owned), about: about.to_owned() }
    }

    fn is_in_range(&self, value: &str) -> bool {
        match &self.takes {
            Range::Text(most) => (1..=*most).contains(&value.chars().count()) && !value.chars().any(char::is_control),
            Range::Integer(least, most) => value.parse().is_ok_and(|value: i64| (*least..=*most).contains(&value)),
            Range::Choice(words) => words.iter().any(|word| word == value),
        }
    }

    /// What it may be, in words.
    pub fn range(&self) -> String {
        match &self.takes {
            Range::Text(most) => format!("a text of 1 to {most} characters"),
            Range::Integer(i64::MIN, i64::MAX) => "a whole number".to_owned(),
            Range::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Range::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a choice, a number and a text.
    struct Sample;

    #[async_trait]
    impl Kind for Sample {
        fn name(&self) -> &str {
            "try"
        }

        fn about(&self) -> &str {
            "nothing"
        }

        fn parameters(&self) -> Vec<Parameter> {
            let parameter = |name, takes, default| Parameter::new(name, takes, default, "");
            vec![
                parameter("how", Range::Choice(["well", "ill"].map(str::to_owned).to_vec()), None),
                parameter("n", Range::Integer(0, 9), Some("1")),
                parameter("name", Range::Text(20), Some("x")),
            ]
        }

        fn routes(&self) -> Vec<Route> {
            let fixed = [("how".to_owned(), "well".to_owned())].into();
            vec![Route { word: "do_well".to_owned(), fixed, positional: vec!["name".to_owned()] }]
        }

        fn needs(&self) -> Action {
            Action::SubmitJobs
        }

        async fn run(&self, _: &Work, _: &Parameters) -> Result<Done, Failure> {
            Ok(Done::default())
        }
    }

    fn given(pairs: &[(&str, &str)]) -> Parameters {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_it_may_be() {
        let takes = Sample.parameters();
        let all = checked(&takes, &given(&[("how", "well")])).unwrap();
        assert_eq!(all, given(&[("how", "well"), ("n", "1"), ("name", "x")]));
        for (pairs, said) in [
            (&[][..], "parameters.how: must be given: one of well, ill"),
            (&[("how", "so")], "parameters.how: must be one of well, ill"),
            (&[("how", "well"), ("n", "10")], "parameters.n: must be a whole number from 0 to 9"),
            (&[("how", "well"), ("n", "")], "parameters.n: must be a whole number from 0 to 9"),
            (&[("how", "well"), ("name", "")], "parameters.name: must be a text of 1 to 20 characters"),
            (&[("how", "well"), ("name", "a\nb")], "parameters.name: must be a text of 1 to 20 characters"),
            (&[("how", "well"), ("who", "")], "parameters.who: unknown; this kind takes how, n, name"),
        ] {
            assert_eq!(checked(&takes, &given(pairs)).unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn a_word_with_values_is_a_kind_with_parameters() {
        let kinds = Kinds::new([Arc::new(Sample) as Arc<dyn Kind>]);
        let routed = |text: &str| kinds.routed(text).map(|(_, parameters)| parameters);
        let whole = given(&[("how", "well"), ("n", "3"), ("name", "Winston-Salem")]);
        assert_eq!(routed("try-well-3-Winston-Salem").unwrap(), whole);
        assert_eq!(routed("try").unwrap(), Parameters::new());
        assert_eq!(routed("do_well-x-y").unwrap(), given(&[("how", "well"), ("name", "x-y")]));
        let unknown = routed("tr-well").unwrap_err().to_string();
        assert_eq!(unknown, "route: must begin with one of try, do_well");
    }
}
