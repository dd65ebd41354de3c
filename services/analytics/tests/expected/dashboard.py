"""What pandas and SciPy make of the samples, for the tests of `src/dashboard`: writes dashboard.json.

    python -m venv venv && venv/bin/pip install pandas scipy zstandard && venv/bin/python dashboard.py

Nothing here is read from the program: the publishers' files are read as they are.
"""

import json
import pathlib

import numpy as np
import pandas as pd
from scipy import stats

HERE = pathlib.Path(__file__).parent
SAMPLES = HERE.parent.parent / "samples"
# of the profile's numbers those of which correlations are compared, in the profile's order
VARIABLES = ["population", "over_64_percent", "median_household_income", "poverty_percent", "uninsured_percent",
             "life_expectancy", "mean_readmission_ratio", "mean_rating"]


def read(name, missing=(), **options):
    return pd.read_csv(SAMPLES / name, dtype=str, keep_default_na=False, na_values=["", *missing], encoding="utf-8-sig",
                       encoding_errors="replace", **options)


def number(column):
    return pd.to_numeric(column.str.replace(r"[$,]", "", regex=True))


def rounded(value, places):
    """Half away from zero, as SQL rounds."""
    return np.floor(value * 10**places + 0.5) / 10**places


def hospitals():
    table = read("hospitals.2025.csv.zst", ["Not Available"]).sort_values("Facility ID")
    table["rating"] = number(table["Hospital overall rating"])
    return table


def chosen():
    """Filters, and what they leave."""
    table = hospitals()
    name, kind = table["Facility Name"].str.upper(), table["Hospital Type"]
    cases = [
        ({}, table["State"] != ""),
        ({"state": "tx"}, table["State"] == "TX"),
        ({"type": "critical access hospitals"}, kind == "Critical Access Hospitals"),
        ({"ownership": "Proprietary"}, table["Hospital Ownership"] == "Proprietary"),
        ({"min_rating": 4}, table["rating"] >= 4),
        ({"emergency_services": False}, table["Emergency Services"] == "No"),
        ({"emergency_services": True, "min_rating": 5}, (table["Emergency Services"] == "Yes") & (table["rating"] >= 5)),
        ({"name_contains": "memorial"}, name.str.contains("MEMORIAL", regex=False)),
        ({"name_contains": "%"}, name.str.contains("%", regex=False)),
        ({"name_contains": "&"}, name.str.contains("&", regex=False)),
        ({"name_contains": "'s"}, name.str.contains("'S", regex=False)),
        ({"state": "CA", "type": "Acute Care Hospitals", "min_rating": 3, "name_contains": "center"},
         (table["State"] == "CA") & (kind == "Acute Care Hospitals") & (table["rating"] >= 3)
         & name.str.contains("CENTER", regex=False)),
    ]
    return [{"filters": filters, "ccns": table.loc[which, "Facility ID"].tolist()} for filters, which in cases]


def one():
    """A hospital and its readmissions."""
    row = hospitals().query("`Facility ID` == '010001'").iloc[0]
    group = lambda name, words: {"group": words, **{key: int(row[f"Count of {which}"]) for key, which in [
        ("n_measures", f"Facility {name} Measures"), ("n_better", f"{name} Measures Better"),
        ("n_same", f"{name} Measures No Different"), ("n_worse", f"{name} Measures Worse")]}}
    again = read("readmissions.csv.zst", ["N/A"]).query("`Facility ID` == '010001'").copy()
    again["measure"] = again["Measure Name"].str.extract("READM-30-(.*)-HRRP")
    lines = [{"measure": line["measure"],
              "n_discharges": None if pd.isna(line["Number of Discharges"]) else int(line["Number of Discharges"]),
              "excess_ratio": None if pd.isna(line["Excess Readmission Ratio"]) else float(line["Excess Readmission Ratio"]),
              "withheld": line["Number of Readmissions"] == "Too Few to Report"}
             for _, line in again.sort_values("measure").iterrows()]
    return {"name": row["Facility Name"], "city": row["City/Town"], "county": row["County/Parish"], "rating": int(row["rating"]),
            "mortality": group("MORT", "mortality"), "readmission": group("READM", "readmission"), "readmissions": lines}


def people():
    table = read("county_population.csv.zst").query("YEAR == '5'").copy()
    for column in ["POPESTIMATE", "POPEST_FEM", "AGE18PLUS_TOT", "AGE65PLUS_TOT"]:
        table[column] = number(table[column])
    sums = table.groupby("STATE")[["POPESTIMATE", "POPEST_FEM", "AGE18PLUS_TOT", "AGE65PLUS_TOT"]].sum()
    whole = sums["POPESTIMATE"]
    return pd.DataFrame({
        "population": whole,
        "female_percent": rounded(100 * sums["POPEST_FEM"] / whole, 2),
        "under_18_percent": rounded(100 * (whole - sums["AGE18PLUS_TOT"]) / whole, 2),
        "over_64_percent": rounded(100 * sums["AGE65PLUS_TOT"] / whole, 2),
    })


def vulnerability():
    table = read("social_vulnerability.2022.csv.zst", ["-999", "-999.0"])

    def weighted(percent, weight):
        known = pd.DataFrame({"state": table["ST_ABBR"], "x": number(table[percent]), "w": number(table[weight])}).dropna()
        known["xw"] = known["x"] * known["w"]
        sums = known.groupby("state")[["xw", "w"]].sum()
        return rounded(sums["xw"] / sums["w"], 2)

    return pd.DataFrame({
        "unemployed_percent": weighted("EP_UNEMP", "E_TOTPOP"),
        "no_high_school_percent": weighted("EP_NOHSDP", "E_TOTPOP"),
        "uninsured_percent": weighted("EP_UNINSUR", "E_TOTPOP"),
        "disability_percent": weighted("EP_DISABL", "E_TOTPOP"),
        "no_internet_percent": weighted("EP_NOINT", "E_HH"),
    })


def profiles():
    """The states' numbers, by postal code."""
    income = read("poverty_income.csv.zst", ["."]).query("`County FIPS Code` == '000' and `Postal Code` != 'US'")
    code = dict(zip(income["State FIPS Code"], income["Postal Code"]))
    named = dict(zip(income["Name"].str.upper(), income["Postal Code"]))
    income = income.set_index("Postal Code")
    table = people().rename(index=code)

    def put(name, column):
        # territories have no profile
        table[name] = column[column.index.notna()].reindex(table.index)

    panel = read("state_panel.csv").set_index("STUSPS")
    put("black_percent", number(panel["BlackP"]))
    put("hispanic_percent", number(panel["HispP"]))
    put("median_household_income", number(income["Median Household Income"]))
    put("poverty_percent", number(income["Poverty Percent, All Ages"]))
    spending = read("medicare_spending.csv.zst", ["*"])
    newest = spending["YEAR"] == spending["YEAR"].max()
    spending = spending[newest & (spending["BENE_GEO_LVL"] == "State") & (spending["BENE_AGE_LVL"] == "All")]
    put("medicare_payments_per_person",
        number(spending.set_index(spending["BENE_GEO_CD"].str.zfill(2).str[:2].map(code))["TOT_MDCR_PYMT_PC"]))
    stays = read("inpatient_costs.2023.csv.zst")
    stays = pd.DataFrame({"state": stays["Rndrng_Prvdr_State_Abrvtn"], "n": number(stays["Tot_Dschrgs"]),
                          "usd": number(stays["Tot_Pymt_Amt"])}).dropna().groupby("state")[["n", "usd"]].sum()
    put("payments_per_stay", rounded(stays["usd"] / stays["n"], 2))
    for name, column in vulnerability().items():
        put(name, column)
    life = read("life_expectancy.2021.csv").query("Sex == 'Total'")
    put("life_expectancy", number(life.set_index(life["State"].str.upper().map(named))["LE"]))
    infants = read("infant_mortality.csv")
    put("infant_deaths_per_1000", number(infants[infants["YEAR"] == infants["YEAR"].max()].set_index("STATE")["RATE"]))
    stays = read("preventable_stays.state.csv.zst")
    put("preventable_stays_per_100000", number(stays.set_index(stays["state"].map(named))["analysis_value"]))
    again = read("readmissions.csv.zst", ["N/A"])
    again["ratio"] = number(again["Excess Readmission Ratio"])
    put("mean_readmission_ratio", rounded(again.groupby("State")["ratio"].mean(), 4))
    rated = hospitals().groupby("State")
    put("n_hospitals", rated.size())
    put("mean_rating", rounded(rated["rating"].mean(), 4))
    whole = read("state_population.csv")
    whole = number(whole.set_index(whole["NAME"].str.upper().map(named))["POPESTIMATE2023"])
    beds = read("hospital_locations.csv.zst", ["NA"])
    beds = number(beds["Staffed.All.Beds"]).groupby(beds["State"]).sum(min_count=1)
    put("staffed_beds_per_1000", rounded(1000 * beds / whole, 4))
    sites = read("sites.2020.csv.zst").groupby("st_abbr").size().reindex(whole.index, fill_value=0)
    put("sites_per_100000", rounded(100_000 * sites / whole, 4))
    premiums = read("premiums.csv", ["N/A"])
    put("monthly_premium", number(premiums.set_index(premiums["Location"].str.upper().map(named))["2024"]))
    return table.sort_index()


def correlations(table, method):
    """Every pair, by SciPy; p-values corrected for all of them."""
    pairs = []
    for i, left in enumerate(VARIABLES):
        for right in VARIABLES[i + 1:]:
            both = table[[left, right]].dropna()
            n = len(both)
            test = stats.pearsonr if method == "pearson" else stats.spearmanr
            result = test(both[left], both[right])
            r = float(result.statistic)
            widened = 1.0 if method == "pearson" else 1.0 + r * r / 2.0
            reach = stats.norm.ppf(0.975) * np.sqrt(widened / (n - 3))
            low, high = np.tanh([np.arctanh(r) - reach, np.arctanh(r) + reach])
            pairs.append({"left": left, "right": right, "coefficient": r, "low": float(low), "high": float(high),
                          "p": float(result.pvalue), "n": n, "n_missing": len(table) - n})
    p = np.array([pair["p"] for pair in pairs])
    for pair, corrected in zip(pairs, stats.false_discovery_control(p, method="bh")):
        pair["benjamini_hochberg"] = float(corrected)
    greatest = 0.0
    for rank, index in enumerate(np.argsort(p)):
        greatest = min(max(greatest, (len(p) - rank) * p[index]), 1.0)
        pairs[index]["holm"] = float(greatest)
    return pairs


def summary():
    table, beds, whole = hospitals(), read("hospital_locations.csv.zst", ["NA"]), read("state_population.csv")
    whole = whole[whole["STATE"] != "00"]
    cities = read("cities.csv.zst")
    # of two cities of a state with one name the first counts
    cities = cities["state_id"] + cities["city_ascii"].str.upper().str.replace(r"[^A-Z0-9]", "", regex=True)
    npis = set()
    for name in ["publisher.csv", "year-exp.csv.zst", "years-of-exp.csv.zst"]:
        npis |= set(read(f"prescribers.{name}").iloc[:, 0].dropna())
    return {
        "n_hospitals": len(table), "n_rated_hospitals": int(table["rating"].notna().sum()),
        "mean_rating": float(rounded(table["rating"].mean(), 4)),
        "n_staffed_beds": int(number(beds["Staffed.All.Beds"]).sum()), "n_states": len(whole),
        "population": int(number(whole["POPESTIMATE2023"]).sum()), "n_cities": len(cities.drop_duplicates()),
        "n_prescribers": len(npis), "n_sites": len(read("sites.2020.csv.zst")),
    }


def main():
    table = profiles()
    states = {state: {name: None if pd.isna(value) else float(value) for name, value in row.items()}
              for state, row in table.iterrows()}
    whole = {"lists": chosen(), "one": one(), "states": states, "summary": summary(),
             "correlations": {method: correlations(table, method) for method in ["pearson", "spearman"]}}
    text = json.dumps(whole, indent=None, separators=(",", ":"))
    # a line for each part, so that a change is seen
    for mark in ['"lists":', '"one":', '"states":', '"summary":', '"correlations":', '{"left":', '{"filters":']:
        text = text.replace(mark, "\n" + mark)
    (HERE / "dashboard.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
