//! Two models on the same rows: how a new one is compared with one that was made of other data.
//!
//! The cards of models that were made of other data tell of other rows, which may be easier. So the one in use is asked
//! about the rows on which the new one was judged, as far as it has not learnt from them itself. Of data of which it has seen
//! almost all, it is asked about all: that makes it look better, and a promotion only harder.

use super::artefact::Artefact;
use super::evaluation::LEAST_GROUP;
use super::fitted::Learnt;
use super::frame::Frame;
use super::metrics::{Scored, advantage};
use super::pipeline::Pipeline;
use super::training::Trained;
use super::{Error, Rows};
use crate::statistics::Interval;

/// The rows on which a pipeline was judged.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    /// Their numbers in the frame.
    pub rows: Rows,
    /// What models said of them that had not seen them, in their order.
    pub scored: Scored,
}

/// What the model in use comes to on the rows on which a new one was judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SameRows {
    /// How many rows they are.
    pub rows: usize,
    /// Whether it had learnt from none of them; else it may have seen some.
    pub unseen: bool,
    /// The new model's value of the deciding metric.
    pub new: f64,
    /// Its value of the deciding metric.
    pub in_use: f64,
    /// 95 % interval of what the new model is better by, in the metric's unit; above 0: surely better.
    pub advantage: Interval,
}

/// A training: what was learnt, from what, and how.
#[derive(Debug)]
pub struct Training {
    /// What was to be learnt.
    pub pipeline: Pipeline,
    /// The rows from which it was learnt.
    pub frame: Frame,
    /// What came of it.
    pub trained: Trained,
}

impl Training {
    /// Asks the artefact in use, of the same schema, about the rows on which the new model was judged. `None`: what it
    /// says cannot be compared.
    ///
    /// # Errors
    /// The frame is not of the artefact's schema.
    pub fn against(&self, in_use: &Artefact) -> Result<Option<SameRows>, Error> {
        let Some(answers) = self.answers(in_use)? else { return Ok(None) };
        let Trained { card, held_out, .. } = &self.trained;
        let compared = |unseen, own: &Scored, others: &Scored| {
            let advantage = advantage(card.decides, own, others, card.seed)?;
            let (new, in_use) = (own.value(card.decides)?, others.value(card.decides)?);
            Some(SameRows { rows: own.len(), unseen, new, in_use, advantage })
        };
        let unseen = self.unseen_by(in_use).filter(|rows| rows.len() >= LEAST_GROUP);
        let unseen = unseen.and_then(|rows| compared(true, &held_out.scored.only(&rows), &answers.only(&rows)));
        Ok(unseen.or_else(|| compared(false, &held_out.scored, &answers)))
    }

    /// Positions of the rows on which the new model was judged that the artefact has not learnt from, where that is known.
    fn unseen_by(&self, in_use: &Artefact) -> Option<Rows> {
        let (seen, ids) = (in_use.learnt_from.as_ref()?, self.frame.ids());
        let rows = self.trained.held_out.rows.iter().enumerate();
        Some(rows.filter(|(_, row)| !seen.has(&ids[**row])).map(|(position, _)| position).collect())
    }

    /// What the artefact says of each row.
    fn answers(&self, in_use: &Artefact) -> Result<Option<Scored>, Error> {
        let Trained { artefact: new, held_out: HeldOut { rows, scored }, .. } = &self.trained;
        let Learnt::Segments(segments) = &new.fitted.learnt else {
            let x = in_use.encoder.matrix(&self.frame, rows)?;
            let predicted = x.iter().map(|row| in_use.fitted.scored(row).0).collect();
            return Ok(Some(Scored { predicted, ..scored.clone() }));
        };
        // a feature that was constant has no column, so that there are centres in other dimensions
        let others = match &in_use.fitted.learnt {
            Learnt::Segments(others) if in_use.encoder.has_columns_of(&new.encoder) => others,
            _ => return Ok(None),
        };
        // distances are in standard deviations: both in those of the new rows
        let (others, x) = (others.rescaled(segments), new.encoder.matrix(&self.frame, rows)?);
        let predicted = x.iter().map(|row| others.nearest(row).1).collect();
        let trivial = x.iter().map(|row| others.to_mean(row)).collect();
        Ok(Some(Scored { predicted, trivial, ..scored.clone() }))
    }
}
