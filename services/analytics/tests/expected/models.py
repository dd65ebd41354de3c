"""What scikit-learn and SciPy say on the very rows of the tests of `src/models` and `src/statistics`: writes models.json.

    python -m venv venv && venv/bin/pip install 'scikit-learn==1.9.*' && venv/bin/python models.py

`models.py states FOLDER` also makes states.csv again, from the folder of public tables that the data sets' README lists
(Census SAIPE 2023 and population estimates 2023, BLS LAUS 2024, CDC SVI 2022, NCHS life expectancy 2021, CMS PQI 90 of 2022:
all of them works of the US government, in the public domain).
"""

import csv
import io
import json
import math
import pathlib
import subprocess
import sys

import numpy as np
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import (average_precision_score, brier_score_loss, log_loss, mean_absolute_error, mean_squared_error,
                             r2_score, roc_auc_score, silhouette_score)

HERE = pathlib.Path(__file__).parent
TRAIN, TEST, COLUMNS = 900, 600, 6


class Stream:
    """Numbers from 0 to 1 by Knuth's 64-bit congruence; the tests have the same in Rust."""

    def __init__(self, state):
        self.state = state

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 11) / 2**53


def made(state, rows):
    """Rows of six numbers, and a 0 or 1 that three of them make more likely."""
    stream, x, y = Stream(state), [], []
    for _ in range(rows):
        row = [stream.next() for _ in range(COLUMNS)]
        score = 6.0 * row[0] - 4.0 * row[1] + 8.0 * (row[2] - 0.5) * (row[3] - 0.5) - 2.4
        x.append(row)
        y.append(1.0 if stream.next() < 1.0 / (1.0 + math.exp(-score)) else 0.0)
    return np.array(x), np.array(y)


def heaps(rows):
    """Rows of three numbers around three places, near enough to each other that starts end differently."""
    stream, x = Stream(11), []
    for index in range(rows):
        spread = [stream.next() + stream.next() + stream.next() - 1.5 for _ in range(3)]
        place = [(0.0, 0.0, 0.0), (2.0, 0.5, 1.0), (0.5, 2.0, -1.0)][index % 3]
        x.append([a + b for a, b in zip(place, spread)])
    return np.array(x)


def standardised(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def states():
    with open(HERE / "states.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(line for line in file if not line.startswith("#"))]
    return rows, {name: np.array([float(row[name]) if row[name] else np.nan for row in rows])
                  for name in rows[0] if name not in ("state", "region")}


def ols(rows, columns):
    """Life expectancy by income, poverty, uninsured, log1p of population, and region (Midwest is the reference)."""
    names = ["median_income", "poverty_percent", "uninsured_percent"]
    x = [columns[name] for name in names] + [np.log1p(columns["population"])]
    x += [np.array([float(row["region"] == region) for row in rows]) for region in ("Northeast", "South", "West")]
    x, y = np.array(x).T, columns["life_expectancy"]
    fitted = LinearRegression().fit(x, y)
    residual = y - fitted.predict(x)
    n, p = x.shape
    design = np.column_stack([np.ones(n), x])
    leverage = design[0] @ np.linalg.inv(design.T @ design) @ design[0]
    reach = stats.t.isf(0.025, n - p - 1) * math.sqrt(residual @ residual / (n - p - 1) * (1 + leverage))
    first = fitted.predict(x[:1])[0]
    return {"coefficients": [fitted.intercept_, *fitted.coef_], "first": [first, first - reach, first + reach]}


def state_segments(columns):
    names = ["median_income", "poverty_percent", "unemployment_rate", "uninsured_percent", "life_expectancy"]
    x = standardised(np.array([columns[name] for name in names] + [np.log1p(columns["population"])]).T)
    return segments(x, 4)


def segments(x, k):
    fitted = [KMeans(k, n_init=10, random_state=seed).fit(x) for seed in range(5)]
    best = min(fitted, key=lambda one: one.inertia_)
    return {"inertia": best.inertia_, "silhouette": silhouette_score(x, best.labels_)}


def forest():
    x, y = made(1, TRAIN)
    held_out, truth = made(2, TEST)
    answers = []
    for seed in range(3):
        grown = RandomForestRegressor(100, max_depth=8, min_samples_leaf=5, max_features="sqrt", random_state=seed)
        probability = grown.fit(x, y).predict(held_out)
        answers.append({"auroc": roc_auc_score(truth, probability), "brier": brier_score_loss(truth, probability)})
    return answers


def metrics():
    x, truth = made(3, 200)
    probability = np.round(x[:, 0], 2)
    number, predicted = 10.0 * x[:, 1], 10.0 * x[:, 1] + x[:, 2] - 0.3
    return {"auroc": roc_auc_score(truth, probability), "auprc": average_precision_score(truth, probability),
            "brier": brier_score_loss(truth, probability), "log_loss": log_loss(truth, probability),
            "rmse": math.sqrt(mean_squared_error(number, predicted)), "mae": mean_absolute_error(number, predicted),
            "r2": r2_score(number, predicted)}


def statistics(columns):
    x, y = columns["poverty_percent"], columns["life_expectancy"]
    pearson, spearman = stats.pearsonr(x, y), stats.spearmanr(x, y)
    low, high = pearson.confidence_interval()
    p_values = [stats.pearsonr(columns[name], y).pvalue for name in ("population", "median_income", "poverty_percent")]
    wilson = stats.binomtest(7, 51).proportion_ci(method="wilson")
    mean = stats.t.interval(0.95, len(y) - 1, y.mean(), stats.sem(y))
    return {"pearson": [pearson.statistic, pearson.pvalue, low, high],
            "spearman": [spearman.statistic, spearman.pvalue], "p_values": p_values,
            "adjusted": list(stats.false_discovery_control(p_values)), "wilson": [wilson.low, wilson.high],
            "mean": [y.mean(), y.std(ddof=1), *mean]}


def table(path):
    text = subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout if path.suffix == ".zst" \
        else path.read_bytes()
    try:
        return list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"))))
    except UnicodeDecodeError:
        return list(csv.DictReader(io.StringIO(text.decode("cp1252"))))


REGIONS = {"Northeast": "CT ME MA NH RI VT NJ NY PA", "Midwest": "IL IN MI OH WI IA KS MN MO NE ND SD",
           "South": "DE FL GA MD NC SC VA DC WV AL KY MS TN AR LA OK TX"}


def make_states(folder):
    saipe = [row for row in table(folder / "SAIPE_2023_poverty_income_state_county.csv.zst")
             if row["County FIPS Code"] == "000" and row["Postal Code"] != "US"]
    sums = {}

    def add(fips, name, value):
        sums[fips, name] = sums.get((fips, name), 0.0) + float(value)

    for row in table(folder / "BLS_LAUS_county_2024.csv.zst"):
        if row["Unemployed"] and row["Unemployed"].replace(",", "").isdigit():
            add(row["State FIPS Code"], "unemployed", row["Unemployed"].replace(",", ""))
            add(row["State FIPS Code"], "force", row["Labor Force"].replace(",", ""))
    for row in table(folder / "SVI_2022_US_county.csv.zst"):
        if float(row["E_UNINSUR"]) >= 0:
            add(row["ST"].zfill(2), "uninsured", row["E_UNINSUR"])
            add(row["ST"].zfill(2), "people", row["E_TOTPOP"])
    for row in table(folder / "cc-est2023-agesex-all.csv.zst"):
        if row["YEAR"] == "5":
            add(row["STATE"].zfill(2), "population", row["POPESTIMATE"])
    years = {row["State"]: row["LE"] for row in table(folder / "NCHS_state_life_expectancy_2021.csv") if row["Sex"] == "Total"}
    stays = {row["state"].title(): row["analysis_value"] for row in table(folder / "PQI_90_state.csv")}
    with open(HERE / "states.csv", "w", encoding="utf-8", newline="") as file:
        file.write("# Made by models.py from public-domain tables of the US government; see there.\n")
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["state", "region", "population", "median_income", "poverty_percent", "unemployment_rate",
                      "uninsured_percent", "life_expectancy", "preventable_stays_rate"])
        for row in saipe:
            fips, code, name = row["State FIPS Code"], row["Postal Code"], row["Name"]
            region = next((region for region, codes in REGIONS.items() if code in codes.split()), "West")
            out.writerow([code, region, int(sums[fips, "population"]), row["Median Household Income"],
                          row["Poverty Percent, All Ages"],
                          f"{100 * sums[fips, 'unemployed'] / sums[fips, 'force']:.2f}",
                          f"{100 * sums[fips, 'uninsured'] / sums[fips, 'people']:.2f}",
                          years[name], stays.get(name.title(), "")])


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "states":
        make_states(pathlib.Path(sys.argv[2]))
    rows, columns = states()
    expected = {"ols": ols(rows, columns), "state_segments": state_segments(columns),
                "heaps": segments(standardised(heaps(300)), 3), "forest": forest(), "metrics": metrics(),
                "statistics": statistics(columns)}
    with open(HERE / "models.json", "w", encoding="utf-8") as file:
        json.dump(expected, file, indent=1)
        file.write("\n")


main()
