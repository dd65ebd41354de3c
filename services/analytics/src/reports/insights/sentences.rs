//! The questions, and what is said of their answers.

use super::{Number, Question, Row, Rows, Said};

/// A normal quantile: 95 % of the values lie within so many standard errors.
const QUANTILE_95: f64 = 1.96;

/// The questions, in the order of their sentences.
pub(super) const QUESTIONS: &[Question] = &[
    Question { report: "sites_per_100000", parameters: &[], of: &[], say: site_rates },
    Question { report: "site_distance", parameters: &[], of: &[], say: site_distance },
    Question { report: "hospital_access", parameters: &[], of: &[], say: hospital_access },
    Question { report: "top_states_by_rating", parameters: &[("n", "1")], of: &[], say: best_rated },
    Question { report: "quality", parameters: &[], of: &["life_expectancy"], say: life_expectancy },
    Question { report: "quality", parameters: &[], of: &["infant_mortality"], say: infant_mortality },
    Question { report: "disparities", parameters: &[], of: &[], say: vulnerability },
    Question { report: "income_and_spending", parameters: &[], of: &["poverty_income"], say: income },
    Question { report: "premium_trends", parameters: &[("state", "all")], of: &[], say: premiums },
    Question { report: "cost_efficiency", parameters: &[], of: &[], say: cost_per_claim },
    Question { report: "city_report", parameters: &[], of: &[], say: unmatched },
];

/// The numbers of two rows, one after the other.
fn both(a: Row<'_>, b: Row<'_>, key: &str, columns: &[&str]) -> Vec<Number> {
    let of = |row: Row<'_>| row.numbers(&row.text(key), columns);
    of(a).into_iter().chain(of(b)).collect()
}

fn site_rates(rows: &Rows) -> Option<Said> {
    let (least, most, n) = rows.ends("sites_per_100000")?;
    let sentence = format!(
        "Of {n} states with a population, {} has the most health-centre sites for 100,000 people, {} ({} sites), and {} the \
         fewest, {} ({} sites).",
        most.text("state"),
        most.text("sites_per_100000"),
        most.text("n_sites"),
        least.text("state"),
        least.text("sites_per_100000"),
        least.text("n_sites"),
    );
    Some((sentence, both(most, least, "state", &["n_sites", "population", "sites_per_100000"])))
}

fn site_distance(rows: &Rows) -> Option<Said> {
    let (rural, urban) = (rows.with("rurality", "rural")?, rows.with("rurality", "urban")?);
    rural.number("median_km").zip(urban.number("median_km"))?;
    let sentence = format!(
        "The next health-centre site is {} km away from half of the rural sites or further (n = {}), and {} km from half of the \
         urban ones (n = {}).",
        rural.text("median_km"),
        rural.text("n_sites"),
        urban.text("median_km"),
        urban.text("n_sites"),
    );
    Some((sentence, both(rural, urban, "rurality", &["n_sites", "median_km"])))
}

fn hospital_access(rows: &Rows) -> Option<Said> {
    let (rural, metropolitan) = (rows.with("rurality", "rural")?, rows.with("rurality", "metropolitan")?);
    rural.number("mean_km").zip(metropolitan.number("mean_km"))?;
    let sentence = format!(
        "People of rural counties live {} km from the nearest acute hospital in the mean ({} counties), those of metropolitan \
         counties {} km ({} counties).",
        rural.text("mean_km"),
        rural.text("n_counties"),
        metropolitan.text("mean_km"),
        metropolitan.text("n_counties"),
    );
    Some((sentence, both(rural, metropolitan, "rurality", &["n_counties", "population", "mean_km"])))
}

fn best_rated(rows: &Rows) -> Option<Said> {
    let best = rows.iter().next()?;
    let (mean, error) = (best.number("mean_rating")?, best.number("standard_error")?);
    let sentence = format!(
        "Hospitals of {} have the best mean rating, {mean:.2} stars (95 % interval {:.2} to {:.2}, n = {}).",
        best.text("state"),
        mean - QUANTILE_95 * error,
        mean + QUANTILE_95 * error,
        best.text("n_rated"),
    );
    Some((sentence, best.numbers(&best.text("state"), &["mean_rating", "standard_error", "n_rated"])))
}

fn life_expectancy(rows: &Rows) -> Option<Said> {
    let (least, most, n) = rows.ends("life_expectancy")?;
    let error = |row: Row<'_>| row.number("life_expectancy_standard_error");
    let difference = most.number("life_expectancy")? - least.number("life_expectancy")?;
    let margin = QUANTILE_95 * error(most)?.hypot(error(least)?);
    let sentence = format!(
        "Of {n} states, life expectancy is highest in {}, {} years, and lowest in {}, {} years: a difference of {difference:.1} \
         years (95 % interval {:.1} to {:.1}).",
        most.text("state"),
        most.text("life_expectancy"),
        least.text("state"),
        least.text("life_expectancy"),
        difference - margin,
        difference + margin,
    );
    let columns = ["life_expectancy_year", "life_expectancy", "life_expectancy_standard_error"];
    Some((sentence, both(most, least, "state", &columns)))
}

fn infant_mortality(rows: &Rows) -> Option<Said> {
    let (least, most, n) = rows.ends("infant_deaths_per_1000")?;
    let sentence = format!(
        "Of {n} states, {} has the highest infant mortality, {} deaths for 1,000 live births, and {} the lowest, {}.",
        most.text("state"),
        most.text("infant_deaths_per_1000"),
        least.text("state"),
        least.text("infant_deaths_per_1000"),
    );
    Some((sentence, both(most, least, "state", &["infant_mortality_year", "infant_deaths_per_1000"])))
}

fn vulnerability(rows: &Rows) -> Option<Said> {
    let quarter =
        |name| rows.iter().find(|row| row.text("dimension") == "vulnerability" && row.text("group_name") == name);
    let (most, least) = (quarter("4")?, quarter("1")?);
    most.number("stays_per_100000").zip(least.number("stays_per_100000"))?;
    let sentence = format!(
        "In the most vulnerable quarter of the counties there are {} preventable hospital stays for 100,000 people in Medicare \
         ({} counties), in the least vulnerable quarter {} ({} counties).",
        most.text("stays_per_100000"),
        most.text("n_counties"),
        least.text("stays_per_100000"),
        least.text("n_counties"),
    );
    Some((sentence, both(most, least, "group_name", &["n_counties", "population", "stays_per_100000"])))
}

fn income(rows: &Rows) -> Option<Said> {
    let (least, most, n) = rows.ends("median_household_income")?;
    let interval = |row: Row<'_>| {
        let [middle, low, high] = ["", "_low", "_high"].map(|end| row.text(&format!("median_household_income{end}")));
        format!("{middle} USD (90 % interval {low} to {high})")
    };
    let sentence = format!(
        "Of {n} states, the median household income is highest in {}, {}, and lowest in {}, {}.",
        most.text("state"),
        interval(most),
        least.text("state"),
        interval(least),
    );
    let columns = ["median_household_income", "median_household_income_low", "median_household_income_high"];
    Some((sentence, both(most, least, "state", &columns)))
}

fn premiums(rows: &Rows) -> Option<Said> {
    let mut nation: Vec<Row<'_>> = rows.iter().filter(|row| row.text("state") == "US").collect();
    nation.retain(|row| row.number("monthly_premium").is_some());
    let (first, last) = (*nation.first()?, *nation.last()?);
    let change = last.number("change_since_first_percent").filter(|_| nation.len() > 1)?;
    let sentence = format!(
        "The benchmark premium of the marketplaces went from {} USD a month in {} to {} USD in {}: {change:+.2} %.",
        first.text("monthly_premium"),
        first.text("year"),
        last.text("monthly_premium"),
        last.text("year"),
    );
    Some((sentence, both(first, last, "year", &["monthly_premium", "change_since_first_percent"])))
}

fn cost_per_claim(rows: &Rows) -> Option<Said> {
    let (least, most, n) = rows.ends("cost_per_claim")?;
    let sentence = format!(
        "Of {n} specialties, a claim costs most with {}, {} USD (n = {} claims), and least with {}, {} USD (n = {} claims).",
        most.text("specialty"),
        most.text("cost_per_claim"),
        most.text("n_claims"),
        least.text("specialty"),
        least.text("cost_per_claim"),
        least.text("n_claims"),
    );
    Some((sentence, both(most, least, "specialty", &["n_claims", "drug_cost", "cost_per_claim"])))
}

fn unmatched(rows: &Rows) -> Option<Said> {
    let claims = |row: Row<'_>| row.number("n_claims").unwrap_or(0.0);
    let total: f64 = rows.iter().map(claims).sum();
    let lines: Vec<Row<'_>> = rows.iter().filter(|row| row.text("matched") == "false").collect();
    let lost: f64 = lines.iter().map(|row| claims(*row)).sum();
    if total <= 0.0 {
        return None;
    }
    let sentence = format!(
        "{:.1} % of the claims, {lost:.0} of {total:.0}, are of cities that are not in the list of cities: no city's number has \
         them.",
        100.0 * lost / total,
    );
    let counted = |column: &str, value: f64| Number {
        of: "all states".into(),
        column: column.into(),
        value: format!("{value:.0}"),
        unit: "1".into(),
    };
    Some((sentence, vec![counted("n_claims, unmatched", lost), counted("n_claims", total)]))
}
