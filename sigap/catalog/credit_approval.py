"""Whether a credit application is approved."""

from sigap.catalog.declaration import Classification, Column, Declaration, Feature, Kind, Source, Target, Text

MONEY = Text(id="satuan mata uang", en="currency units")


def _number(
    name: str,
    kind: Kind,
    title: Text,
    meaning: Text,
    unit: Text,
    minimum: float,
    maximum: float,
    personal: bool = False,
) -> Feature:
    return Feature(
        name=name,
        sql=f"t.{name.lower()}",
        kind=kind,
        title=title,
        meaning=meaning,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        personal=personal,
    )


CREDIT_APPROVAL = Declaration(
    name="credit_approval",
    title=Text(id="Persetujuan kredit", en="Credit approval"),
    question=Text(id="Apakah permohonan kredit ini disetujui?", en="Is this credit application approved?"),
    source=Source(
        table="credit_applications",
        relation="credit_applications AS t",
        key=("application_id",),
        entity="application_id",
    ),
    columns=(
        Column(
            name="application_id",
            sql="t.application_id",
            kind=Kind.INTEGER,
            required=True,
            minimum=1,
            aliases=("ID",),
            meaning=Text(id="Nomor permohonan", en="Number of the application"),
        ),
    ),
    features=(
        _number(
            "Age",
            Kind.INTEGER,
            Text(id="Umur", en="Age"),
            Text(id="Umur pemohon", en="Applicant's age"),
            Text(id="tahun", en="years"),
            17,
            110,
            personal=True,
        ),
        _number(
            "Annual_Income",
            Kind.NUMBER,
            Text(id="Penghasilan setahun", en="Annual income"),
            Text(id="Penghasilan pemohon setahun", en="The applicant's income in a year"),
            MONEY,
            0,
            1e9,
            personal=True,
        ),
        _number(
            "Credit_Score",
            Kind.INTEGER,
            Text(id="Skor kredit", en="Credit score"),
            Text(id="Skor kredit 300–850", en="Credit score 300–850"),
            Text(id="poin", en="points"),
            300,
            850,
            personal=True,
        ),
        _number(
            "Loan_Amount",
            Kind.NUMBER,
            Text(id="Jumlah kredit", en="Loan amount"),
            Text(id="Jumlah yang diminta", en="Amount asked for"),
            MONEY,
            1,
            1e9,
        ),
        _number(
            "Loan_Duration_Years",
            Kind.INTEGER,
            Text(id="Jangka waktu", en="Duration"),
            Text(id="Lama pengembalian", en="Time to pay back"),
            Text(id="tahun", en="years"),
            1,
            50,
        ),
        _number(
            "Number_of_Open_Accounts",
            Kind.INTEGER,
            Text(id="Rekening terbuka", en="Open accounts"),
            Text(id="Jumlah rekening kredit yang terbuka", en="Number of open credit accounts"),
            Text(id="rekening", en="accounts"),
            0,
            200,
        ),
        _number(
            "Had_Past_Default",
            Kind.INTEGER,
            Text(id="Pernah gagal bayar", en="Past default"),
            Text(id="1 bila pernah gagal bayar, 0 bila tidak", en="1 if a debt was not paid once, 0 if not"),
            Text(id="", en=""),
            0,
            1,
            personal=True,
        ),
    ),
    target=Target(
        name="Approved",
        sql="t.approved",
        kind=Kind.INTEGER,
        minimum=0,
        maximum=1,
        title=Text(id="Keputusan", en="Decision"),
        meaning=Text(id="1 disetujui, 0 ditolak", en="1 approved, 0 not approved"),
        aliases=("Loan_Approved", "Loan_Status", "Approval"),
    ),
    task=Classification(positive="1", yes="Approved", no="Not approved", flag="prediction_code"),
    example={
        "Age": 45,
        "Annual_Income": 85000,
        "Credit_Score": 650,
        "Loan_Amount": 25000,
        "Loan_Duration_Years": 10,
        "Number_of_Open_Accounts": 5,
        "Had_Past_Default": 0,
    },
    paths=("/api/v2/predict",),
    data_source=Text(id="Data tiruan sampai berkas Anda diimpor", en="Mock data until your own file is imported"),
)
