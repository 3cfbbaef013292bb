"""Which kinds of customers there are."""

from sigap.catalog.declaration import Clustering, Column, Declaration, Feature, Kind, Source, Text

NO_UNIT = Text(id="", en="")


def _choice(name: str, title: Text, meaning: Text, categories: tuple[str, ...], personal: bool = True) -> Feature:
    return Feature(
        name=name,
        sql=f"t.{name.lower()}",
        kind=Kind.CATEGORY,
        title=title,
        meaning=meaning,
        unit=NO_UNIT,
        categories=categories,
        personal=personal,
    )


def _number(name: str, title: Text, meaning: Text, unit: Text, minimum: float, maximum: float) -> Feature:
    return Feature(
        name=name,
        sql=f"t.{name.lower()}",
        kind=Kind.NUMBER,
        title=title,
        meaning=meaning,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        personal=True,
    )


CUSTOMER_SEGMENTS = Declaration(
    name="customer_segments",
    title=Text(id="Segmen pelanggan", en="Customer segments"),
    question=Text(
        id="Kelompok pelanggan mana saja yang ada, dan apa bedanya?",
        en="Which groups of customers are there, and what sets them apart?",
    ),
    source=Source(table="customers", relation="customers AS t", key=("customer_id",), entity="customer_id"),
    columns=(
        Column(
            name="customer_id",
            sql="t.customer_id",
            kind=Kind.INTEGER,
            required=True,
            minimum=1,
            aliases=("ID",),
            meaning=Text(id="Nomor pelanggan", en="Number of the customer"),
        ),
    ),
    features=(
        _choice(
            "Gender",
            Text(id="Jenis kelamin", en="Gender"),
            Text(id="Jenis kelamin pelanggan", en="Customer's gender"),
            ("Male", "Female"),
        ),
        _choice(
            "Ever_Married",
            Text(id="Pernah menikah", en="Ever married"),
            Text(id="Apakah pernah menikah", en="Whether ever married"),
            ("Yes", "No"),
        ),
        _number(
            "Age",
            Text(id="Umur", en="Age"),
            Text(id="Umur pelanggan", en="Customer's age"),
            Text(id="tahun", en="years"),
            16,
            110,
        ),
        _choice(
            "Graduated",
            Text(id="Lulus perguruan tinggi", en="Graduated"),
            Text(id="Apakah lulus perguruan tinggi", en="Whether graduated"),
            ("Yes", "No"),
        ),
        _choice(
            "Profession",
            Text(id="Pekerjaan", en="Profession"),
            Text(id="Pekerjaan", en="Profession"),
            (
                "Artist",
                "Doctor",
                "Engineer",
                "Entertainment",
                "Executive",
                "Healthcare",
                "Homemaker",
                "Lawyer",
                "Marketing",
            ),
        ),
        _number(
            "Work_Experience",
            Text(id="Pengalaman kerja", en="Work experience"),
            Text(id="Lama bekerja", en="Time worked"),
            Text(id="tahun", en="years"),
            0,
            60,
        ),
        _choice(
            "Spending_Score",
            Text(id="Tingkat belanja", en="Spending"),
            Text(id="Tingkat belanja", en="How much is spent"),
            ("Low", "Average", "High"),
        ),
        _number(
            "Family_Size",
            Text(id="Jumlah keluarga", en="Family size"),
            Text(id="Jumlah anggota keluarga", en="Members of the family"),
            Text(id="orang", en="people"),
            1,
            30,
        ),
        _choice(
            "Var_1",
            Text(id="Kategori Var_1", en="Category Var_1"),
            Text(id="Kategori tanpa keterangan dari penerbit data", en="A category its publisher does not explain"),
            ("Cat_1", "Cat_2", "Cat_3", "Cat_4", "Cat_5", "Cat_6", "Cat_7"),
            personal=False,
        ),
    ),
    task=Clustering(
        published_share=0.8,
        carry_forward=0,
        winsorize=0.01,
        minimum_entities=50,
        smallest_cluster=10,
        smallest_share=0.05,
        stability_floor=0.6,
        missing="impute",
        structure_floor=0.02,
        order="size",
        best=Text(id="Segmen", en="Segment"),
        middle=Text(id="Segmen", en="Segment"),
        worst=Text(id="Segmen", en="Segment"),
    ),
    example={
        "Gender": "Female",
        "Ever_Married": "Yes",
        "Age": 38,
        "Graduated": "Yes",
        "Profession": "Engineer",
        "Work_Experience": 1.0,
        "Spending_Score": "Average",
        "Family_Size": 3.0,
        "Var_1": "Cat_4",
    },
    data_source=Text(id="Data tiruan sampai berkas Anda diimpor", en="Mock data until your own file is imported"),
)
