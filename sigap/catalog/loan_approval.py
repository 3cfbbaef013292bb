"""Whether a loan application is approved."""

from sigap.catalog.declaration import (
    NO_UNIT,
    Classification,
    Column,
    Declaration,
    Kind,
    Source,
    Target,
    Text,
    choice,
    number,
)
from sigap.catalog.values import GENDERS, NO, YES

MONEY = Text(id="satuan mata uang per bulan", en="currency units a month")


LOAN_APPROVAL = Declaration(
    name="loan_approval",
    title=Text(id="Persetujuan pinjaman", en="Loan approval"),
    question=Text(
        id="Apakah permohonan pinjaman ini disetujui, dan mengapa?", en="Is this loan application approved, and why?"
    ),
    source=Source(table="loan_applications", relation="loan_applications AS t", key=("loan_id",), entity="loan_id"),
    columns=(
        Column(
            name="loan_id",
            sql="t.loan_id",
            kind=Kind.TEXT,
            required=True,
            meaning=Text(id="Nomor permohonan", en="Number of the application"),
        ),
    ),
    features=(
        choice(
            "Gender",
            Text(id="Jenis kelamin", en="Gender"),
            Text(id="Jenis kelamin pemohon", en="Applicant's gender"),
            ("Male", "Female"),
            personal=True,
            labels=GENDERS,
        ),
        choice(
            "Married",
            Text(id="Menikah", en="Married"),
            Text(id="Apakah pemohon menikah", en="Whether the applicant is married"),
            ("Yes", "No"),
            personal=True,
            labels=(YES, NO),
        ),
        choice(
            "Dependents",
            Text(id="Tanggungan", en="Dependents"),
            Text(id="Jumlah orang yang ditanggung", en="Number of dependents"),
            ("0", "1", "2", "3+"),
            personal=True,
        ),
        choice(
            "Education",
            Text(id="Pendidikan", en="Education"),
            Text(id="Lulusan perguruan tinggi atau bukan", en="Graduate or not"),
            ("Graduate", "Not Graduate"),
            personal=True,
            labels=(
                Text(id="Sarjana", en="Graduate"),
                Text(id="Bukan sarjana", en="Not a graduate"),
            ),
        ),
        choice(
            "Self_Employed",
            Text(id="Wiraswasta", en="Self-employed"),
            Text(id="Apakah pemohon wiraswasta", en="Whether the applicant is self-employed"),
            ("Yes", "No"),
            personal=True,
            labels=(YES, NO),
        ),
        number(
            "ApplicantIncome",
            Text(id="Penghasilan pemohon", en="Applicant's income"),
            Text(id="Penghasilan pemohon sebulan", en="The applicant's monthly income"),
            MONEY,
            0,
            1e7,
            column="applicant_income",
            personal=True,
        ),
        number(
            "CoapplicantIncome",
            Text(id="Penghasilan pendamping", en="Co-applicant's income"),
            Text(id="Penghasilan pendamping sebulan", en="The co-applicant's monthly income"),
            MONEY,
            0,
            1e7,
            column="coapplicant_income",
            personal=True,
        ),
        number(
            "LoanAmount",
            Text(id="Jumlah pinjaman", en="Loan amount"),
            Text(
                id="Jumlah yang dipinjam, dalam satuan, bukan ribuan", en="Amount borrowed, in units, not in thousands"
            ),
            Text(id="satuan mata uang", en="currency units"),
            1000,
            1e8,
            column="loan_amount",
        ),
        number(
            "Loan_Amount_Term",
            Text(id="Jangka waktu", en="Term"),
            Text(id="Lama pengembalian", en="Time to pay back"),
            Text(id="bulan", en="months"),
            1,
            600,
        ),
        number(
            "Credit_History",
            Text(id="Riwayat kredit", en="Credit history"),
            Text(
                id="1 bila kredit terdahulu dilunasi, 0 bila tidak", en="1 if earlier credits were paid back, 0 if not"
            ),
            NO_UNIT,
            0,
            1,
            flag=True,
            higher_is_better=True,
        ),
        choice(
            "Property_Area",
            Text(id="Letak properti", en="Property area"),
            Text(id="Kota, pinggir kota, atau desa", en="Urban, semi-urban or rural"),
            ("Urban", "Semiurban", "Rural"),
            personal=True,
            labels=(
                Text(id="Kota", en="Urban"),
                Text(id="Pinggir kota", en="Semi-urban"),
                Text(id="Desa", en="Rural"),
            ),
        ),
    ),
    target=Target(
        name="Loan_Status",
        sql="t.loan_status",
        kind=Kind.CATEGORY,
        categories=("Y", "N"),
        title=Text(id="Keputusan", en="Decision"),
        meaning=Text(id="Y disetujui, N ditolak", en="Y approved, N rejected"),
    ),
    task=Classification(
        positive="Y", yes="Loan Approved", no="Loan Rejected", flag="is_approved", fairness=("Gender", "Property_Area")
    ),
    example={
        "Gender": "Male",
        "Married": "Yes",
        "Dependents": "0",
        "Education": "Graduate",
        "Self_Employed": "No",
        "ApplicantIncome": 5400,
        "CoapplicantIncome": 2100,
        "LoanAmount": 165000,
        "Loan_Amount_Term": 360.0,
        "Credit_History": 1.0,
        "Property_Area": "Urban",
    },
    data_source=Text(id="Data tiruan, atau data Anda setelah diimpor", en="Mock data, or your own once it is imported"),
)
