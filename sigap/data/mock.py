"""Made-up rows for a first start: the same on every machine, plausible enough to learn from, and nobody's data.

Whatever is trained on them has to be called mock wherever it is shown; `sigap.data.origin` tells. Each table is like
the file that is imported in its place: the declared names as headings, LoanAmount in thousands, cells that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sigap.catalog import Declaration
from sigap.catalog.car_price import CAR_PRICE
from sigap.catalog.credit_approval import CREDIT_APPROVAL
from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS
from sigap.catalog.loan_approval import LOAN_APPROVAL

Floats = NDArray[np.float64]

CARS, CUSTOMERS, LOANS, CREDITS = 300, 1200, 600, 800

# Brand: how its prices lie above those of others for the same car, and how often it is seen.
_BRANDS = {
    "alfa-romero": (1.15, 3), "audi": (1.3, 6), "bmw": (1.55, 8), "buick": (1.5, 6), "chevrolet": (0.88, 4),
    "dodge": (0.9, 9), "honda": (1.02, 13), "isuzu": (0.95, 4), "jaguar": (1.6, 3), "mazda": (0.98, 17),
    "mercury": (1.1, 1), "mitsubishi": (0.88, 13), "nissan": (0.97, 18), "peugeot": (1.12, 11), "plymouth": (0.88, 7),
    "porsche": (1.7, 5), "renault": (0.95, 2), "saab": (1.15, 6), "subaru": (0.92, 12), "toyota": (0.96, 32),
    "volkswagen": (1.05, 12), "volvo": (1.18, 11),
}  # fmt: skip


def cars(rows: int = CARS, seed: int = 1985) -> pd.DataFrame:
    """Cars whose price follows weight, power, engine and brand, times a noise of 6 %.

    Args:
        rows: How many.
        seed: Another seed is another market.
    """
    random = np.random.default_rng(seed)
    brand = random.choice(list(_BRANDS), rows, p=_shares([often for _, often in _BRANDS.values()]))
    premium = np.array([_BRANDS[each][0] for each in brand])
    # One hidden size makes length, weight, engine and power hang together; dear brands build larger cars.
    size = np.clip(random.normal(0, 0.85, rows) + 3.2 * (premium - 1.05), -1.9, 2.6)
    diesel = random.random(rows) < 0.1
    turbo = random.random(rows) < np.where(diesel, 0.6, 0.14)
    enginesize = np.clip(118 + 33 * size + random.normal(0, 9, rows), 61, 326).round()
    horsepower = enginesize * np.where(diesel, 0.62, 0.8) * np.where(turbo, 1.25, 1) + random.normal(0, 6, rows)
    horsepower = np.clip(horsepower, 48, 288).round()
    curbweight = np.clip(2480 + 430 * size + 160 * diesel + random.normal(0, 90, rows), 1488, 4066).round()
    highwaympg = np.clip(61 - curbweight / 88 - horsepower / 60 + 7 * diesel + random.normal(0, 1.3, rows), 16, 54)
    cylinders = np.select(
        [enginesize > 230, enginesize > 165, enginesize > 140], ["eight", "six", "five"], default="four"
    )
    enginetype = _pick(random, rows, {"ohc": 72, "ohcf": 8, "ohcv": 6, "dohc": 7, "l": 6, "dohcv": 1})
    large = np.where(size > 0.7, 0.75, 0.25)
    log_price = (
        np.log(11_200)
        + 0.62 * np.log(curbweight / 2500)
        + 0.55 * np.log(horsepower / 100)
        + 0.45 * np.log(enginesize / 120)
        + np.log(premium)
        + 0.05 * diesel
        + random.normal(0, 0.06, rows)
    )
    return pd.DataFrame(
        {
            "car_id": np.arange(1, rows + 1),
            "wheelbase": (98.5 + 4.6 * size + random.normal(0, 1.6, rows)).clip(86.6, 120.9).round(1),
            "carlength": (173.5 + 10.5 * size + random.normal(0, 3.5, rows)).clip(141.1, 208.1).round(1),
            "carwidth": (65.8 + 1.8 * size + random.normal(0, 0.6, rows)).clip(60.3, 72.3).round(1),
            "curbweight": curbweight.astype(int),
            "enginesize": enginesize.astype(int),
            "boreratio": (3.32 + 0.16 * size + random.normal(0, 0.15, rows)).clip(2.54, 3.94).round(2),
            "horsepower": horsepower.astype(int),
            "citympg": (highwaympg - random.uniform(4, 7, rows)).clip(13, 49).round().astype(int),
            "highwaympg": highwaympg.round().astype(int),
            "CompanyName": brand,
            "fueltype": np.where(diesel, "diesel", "gas"),
            "aspiration": np.where(turbo, "turbo", "std"),
            "doornumber": np.where(random.random(rows) < 0.45, "two", "four"),
            "carbody": _pick(random, rows, {"sedan": 47, "hatchback": 34, "wagon": 12, "hardtop": 4, "convertible": 3}),
            "drivewheel": np.where(
                random.random(rows) < large, "rwd", np.where(random.random(rows) < 0.07, "4wd", "fwd")
            ),
            "enginetype": enginetype,
            "cylindernumber": cylinders,
            "fuelsystem": np.where(
                diesel, "idi", np.where(random.random(rows) < 0.3 + 0.4 * (size > 0), "mpfi", "2bbl")
            ),
            "price": np.exp(log_price).round(),
        }
    )


def customers(rows: int = CUSTOMERS, seed: int = 8068) -> pd.DataFrame:
    """Customers of three kinds (at the beginning, settled, retired) that overlap, with some cells missing.

    Args:
        rows: How many.
        seed: Another seed is another town.
    """
    random = np.random.default_rng(seed)
    kind = random.choice(3, rows, p=[0.36, 0.42, 0.22])

    def by_kind(*choices: dict[str, float]) -> NDArray[np.object_]:
        drawn = np.stack([_pick(random, rows, choice) for choice in choices])
        chosen: NDArray[np.object_] = drawn[kind, np.arange(rows)]
        return chosen

    age = np.array([25.0, 43.0, 69.0])[kind] + np.array([4.0, 7.0, 7.0])[kind] * random.normal(0, 1, rows)
    family = np.array([3.9, 2.5, 1.7])[kind] + random.normal(0, 0.9, rows)
    experience = random.exponential(np.array([3.2, 2.6, 0.9])[kind])
    table = pd.DataFrame(
        {
            "customer_id": np.arange(460_001, 460_001 + rows),
            "Gender": _pick(random, rows, {"Male": 55, "Female": 45}),
            "Ever_Married": by_kind({"Yes": 6, "No": 94}, {"Yes": 74, "No": 26}, {"Yes": 95, "No": 5}),
            "Age": age.clip(18, 89).round(),
            "Graduated": by_kind({"Yes": 33, "No": 67}, {"Yes": 82, "No": 18}, {"Yes": 62, "No": 38}),
            "Profession": by_kind(
                {"Healthcare": 60, "Marketing": 8, "Doctor": 10, "Artist": 8, "Entertainment": 8, "Homemaker": 6},
                {"Artist": 55, "Entertainment": 15, "Engineer": 15, "Doctor": 10, "Homemaker": 5},
                {"Lawyer": 50, "Executive": 34, "Artist": 10, "Engineer": 6},
            ),
            "Work_Experience": experience.clip(0, 14).round(),
            "Spending_Score": by_kind(
                {"Low": 96, "Average": 3, "High": 1},
                {"Low": 48, "Average": 45, "High": 7},
                {"Low": 32, "Average": 12, "High": 56},
            ),
            "Family_Size": family.clip(1, 9).round(),
            "Var_1": _pick(
                random, rows, {"Cat_6": 65, "Cat_4": 14, "Cat_3": 10, "Cat_2": 5, "Cat_7": 3, "Cat_1": 2, "Cat_5": 1}
            ),
        }
    )
    missing = {
        "Ever_Married": 0.017,
        "Graduated": 0.01,
        "Profession": 0.015,
        "Work_Experience": 0.1,
        "Family_Size": 0.04,
    }
    return _with_gaps(random, table, missing)


def loans(rows: int = LOANS, seed: int = 614) -> pd.DataFrame:
    """Loan applications decided mostly by credit history, as in the public file: LoanAmount in thousands.

    Args:
        rows: How many.
        seed: Another seed is another bank.
    """
    random = np.random.default_rng(seed)
    graduate = random.random(rows) < 0.78
    married = random.random(rows) < 0.65
    history = random.random(rows) < 0.845
    area = _pick(random, rows, {"Semiurban": 38, "Urban": 33, "Rural": 29})
    income = np.exp(random.normal(np.where(graduate, 8.4, 8.15), 0.5)).clip(150, 81_000).round()
    second = np.where(random.random(rows) < 0.55, np.exp(random.normal(7.5, 0.55, rows)), 0).round()
    amount = 0.026 * (income + second) ** 0.99 * np.exp(random.normal(0, 0.3, rows))
    burden = np.log(amount * 1000 / (income + second)) - np.log(26)
    score = np.where(history, 1.3, -2.6) + 0.45 * (area == "Semiurban") + 0.3 * married - 0.6 * burden
    approved = random.random(rows) < 1 / (1 + np.exp(-score))
    table = pd.DataFrame(
        {
            "loan_id": [f"MOCK{number:06d}" for number in range(1, rows + 1)],
            "Gender": _pick(random, rows, {"Male": 81, "Female": 19}),
            "Married": np.where(married, "Yes", "No"),
            "Dependents": _pick(random, rows, {"0": 58, "1": 17, "2": 17, "3+": 8}),
            "Education": np.where(graduate, "Graduate", "Not Graduate"),
            "Self_Employed": _pick(random, rows, {"No": 86, "Yes": 14}),
            "ApplicantIncome": income.astype(int),
            "CoapplicantIncome": second.astype(int),
            "LoanAmount": amount.clip(9, 700).round(),
            "Loan_Amount_Term": _pick(random, rows, {"360": 86, "180": 8, "480": 3, "300": 3}).astype(float),
            "Credit_History": history.astype(float),
            "Property_Area": area,
            "Loan_Status": np.where(approved, "Y", "N"),
        }
    )
    missing = {"Gender": 0.02, "Dependents": 0.025, "Self_Employed": 0.05, "LoanAmount": 0.035}
    return _with_gaps(random, table, missing | {"Loan_Amount_Term": 0.02, "Credit_History": 0.08})


def credits(rows: int = CREDITS, seed: int = 850) -> pd.DataFrame:
    """Credit applications decided by score, burden and past default, with people's discretion as noise.

    Args:
        rows: How many.
        seed: Another seed is another bank.
    """
    random = np.random.default_rng(seed)
    age = random.normal(42, 13, rows).clip(18, 85).round()
    points = random.normal(645 + 0.6 * (age - 42), 85).clip(300, 850).round()
    income = np.exp(random.normal(10.9, 0.5, rows)).clip(8_000, 600_000).round(-2)
    amount = (income * np.exp(random.normal(-1.1, 0.65, rows))).clip(500, 500_000).round(-2)
    years = random.choice([1, 2, 3, 5, 7, 10, 15, 20], rows)
    default = random.random(rows) < 1 / (1 + np.exp((points - 520) / 45))
    accounts = random.poisson(4.5, rows)
    burden = amount / years / income
    score = (points - 630) / 38 - 2.2 * default - 5.5 * (burden - 0.09) - 0.12 * (accounts - 4.5)
    approved = random.random(rows) < 1 / (1 + np.exp(-1.4 * score))
    return pd.DataFrame(
        {
            "application_id": np.arange(1, rows + 1),
            "Age": age.astype(int),
            "Annual_Income": income,
            "Credit_Score": points.astype(int),
            "Loan_Amount": amount,
            "Loan_Duration_Years": years,
            "Number_of_Open_Accounts": accounts,
            "Had_Past_Default": default.astype(int),
            "Approved": approved.astype(int),
        }
    )


# The candles' market is `sigap.data.market`.
MOCKS: tuple[tuple[Declaration, Callable[[], pd.DataFrame]], ...] = (
    (CAR_PRICE, cars),
    (CUSTOMER_SEGMENTS, customers),
    (LOAN_APPROVAL, loans),
    (CREDIT_APPROVAL, credits),
)


def _shares(weights: Sequence[float]) -> Floats:
    values: Floats = np.asarray(weights, dtype=np.float64) / sum(weights)
    return values


def _pick(random: np.random.Generator, rows: int, weights: dict[str, float]) -> NDArray[np.object_]:
    drawn: NDArray[np.object_] = random.choice(
        np.array(list(weights), dtype=object), rows, p=_shares(list(weights.values()))
    )
    return drawn


def _with_gaps(random: np.random.Generator, table: pd.DataFrame, shares: dict[str, float]) -> pd.DataFrame:
    """The table with that share of each column's cells missing."""
    for name, share in shares.items():
        table[name] = table[name].mask(random.random(len(table)) < share)
    return table
