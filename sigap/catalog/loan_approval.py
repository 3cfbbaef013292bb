"""Whether a loan application is approved."""

from sigap.catalog.declaration import Classification, Column, Declaration, Feature, Kind, Source, Target, Text

NO_UNIT = Text(id="", en="")
MONEY = Text(id="satuan mata uang per bulan", en="currency units a month")


def _choice(name: str, sql: str, title: Text, meaning: Text, categories: tuple[str, ...]) -> Feature:
    return Feature(
        name=name,
        sql=f"t.{sql}",
        kind=Kind.CATEGORY,
        title=title,
        meaning=meaning,
        unit=NO_UNIT,
        categories=categories,
        personal=True,
    )


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
        _choice(
            "Gender",
            "gender",
            Text(id="Jenis kelamin", en="Gender"),
            Text(id="Jenis kelamin pemohon", en="Applicant's gender"),
            ("Male", "Female"),
        ),
        _choice(
            "Married",
            "married",
            Text(id="Menikah", en="Married"),
            Text(id="Apakah pemohon menikah", en="Whether the applicant is married"),
            ("Yes", "No"),
        ),
        _choice(
            "Dependents",
            "dependents",
            Text(id="Tanggungan", en="Dependents"),
            Text(id="Jumlah orang yang ditanggung", en="Number of dependents"),
            ("0", "1", "2", "3+"),
        ),
        _choice(
            "Education",
            "education",
            Text(id="Pendidikan", en="Education"),
            Text(id="Lulusan perguruan tinggi atau bukan", en="Graduate or not"),
            ("Graduate", "Not Graduate"),
        ),
        _choice(
            "Self_Employed",
            "self_employed",
            Text(id="Wiraswasta", en="Self-employed"),
            Text(id="Apakah pemohon wiraswasta", en="Whether the applicant is self-employed"),
            ("Yes", "No"),
        ),
        Feature(
            name="ApplicantIncome",
            sql="t.applicant_income",
            kind=Kind.NUMBER,
            personal=True,
            title=Text(id="Penghasilan pemohon", en="Applicant's income"),
            unit=MONEY,
            minimum=0,
            maximum=1e7,
            meaning=Text(id="Penghasilan pemohon sebulan", en="The applicant's monthly income"),
        ),
        Feature(
            name="CoapplicantIncome",
            sql="t.coapplicant_income",
            kind=Kind.NUMBER,
            personal=True,
            title=Text(id="Penghasilan pendamping", en="Co-applicant's income"),
            unit=MONEY,
            minimum=0,
            maximum=1e7,
            meaning=Text(id="Penghasilan pendamping sebulan", en="The co-applicant's monthly income"),
        ),
        Feature(
            name="LoanAmount",
            sql="t.loan_amount",
            kind=Kind.NUMBER,
            title=Text(id="Jumlah pinjaman", en="Loan amount"),
            unit=Text(id="satuan mata uang", en="currency units"),
            minimum=1000,
            maximum=1e8,
            meaning=Text(
                id="Jumlah yang dipinjam, dalam satuan, bukan ribuan", en="Amount borrowed, in units, not in thousands"
            ),
        ),
        Feature(
            name="Loan_Amount_Term",
            sql="t.loan_amount_term",
            kind=Kind.NUMBER,
            title=Text(id="Jangka waktu", en="Term"),
            unit=Text(id="bulan", en="months"),
            minimum=1,
            maximum=600,
            meaning=Text(id="Lama pengembalian", en="Time to pay back"),
        ),
        Feature(
            name="Credit_History",
            sql="t.credit_history",
            kind=Kind.NUMBER,
            higher_is_better=True,
            title=Text(id="Riwayat kredit", en="Credit history"),
            unit=NO_UNIT,
            minimum=0,
            maximum=1,
            meaning=Text(
                id="1 bila kredit terdahulu dilunasi, 0 bila tidak", en="1 if earlier credits were paid back, 0 if not"
            ),
        ),
        _choice(
            "Property_Area",
            "property_area",
            Text(id="Letak properti", en="Property area"),
            Text(id="Kota, pinggir kota, atau desa", en="Urban, semi-urban or rural"),
            ("Urban", "Semiurban", "Rural"),
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
    data_source=Text(id="Data tiruan sampai berkas Anda diimpor", en="Mock data until your own file is imported"),
)
