"""What a used car of the 1985 automobile data set sells for."""

from sigap.catalog.declaration import Column, Declaration, Feature, Kind, Regression, Segments, Source, Target, Text


def _number(
    name: str, title: Text, unit: Text, minimum: float, maximum: float, meaning: Text, kind: Kind = Kind.NUMBER
) -> Feature:
    return Feature(
        name=name, sql=f"t.{name}", kind=kind, title=title, meaning=meaning, unit=unit, minimum=minimum, maximum=maximum
    )


def _choice(
    name: str, title: Text, meaning: Text, categories: tuple[str, ...], sql: str = "", aliases: tuple[str, ...] = ()
) -> Feature:
    return Feature(
        name=name,
        sql=sql or f"t.{name}",
        kind=Kind.CATEGORY,
        title=title,
        meaning=meaning,
        unit=Text(id="", en=""),
        categories=categories,
        aliases=aliases,
    )


INCH = Text(id="inci", en="inches")
MPG = Text(id="mil per galon", en="miles per gallon")
BRANDS = (
    "alfa-romero",
    "audi",
    "bmw",
    "buick",
    "chevrolet",
    "dodge",
    "honda",
    "isuzu",
    "jaguar",
    "mazda",
    "mercury",
    "mitsubishi",
    "nissan",
    "peugeot",
    "plymouth",
    "porsche",
    "renault",
    "saab",
    "subaru",
    "toyota",
    "volkswagen",
    "volvo",
)

CAR_PRICE = Declaration(
    name="car_price",
    title=Text(id="Harga mobil", en="Car price"),
    question=Text(id="Berapa harga wajar mobil ini?", en="What is a fair price for this car?"),
    source=Source(table="cars", relation="cars AS t", key=("car_id",), entity="car_id"),
    columns=(
        Column(
            name="car_id",
            sql="t.car_id",
            kind=Kind.INTEGER,
            required=True,
            minimum=1,
            meaning=Text(id="Nomor mobil", en="Number of the car"),
        ),
    ),
    features=(
        _number(
            "wheelbase",
            Text(id="Jarak sumbu roda", en="Wheelbase"),
            INCH,
            60,
            160,
            Text(id="Jarak antara kedua sumbu roda", en="Distance between the axles"),
        ),
        _number(
            "carlength",
            Text(id="Panjang", en="Length"),
            INCH,
            100,
            280,
            Text(id="Panjang mobil", en="Length of the car"),
        ),
        _number("carwidth", Text(id="Lebar", en="Width"), INCH, 40, 100, Text(id="Lebar mobil", en="Width of the car")),
        _number(
            "curbweight",
            Text(id="Berat kosong", en="Curb weight"),
            Text(id="pon", en="pounds"),
            1000,
            8000,
            Text(id="Berat mobil tanpa muatan", en="Weight of the car without load"),
            Kind.INTEGER,
        ),
        _number(
            "enginesize",
            Text(id="Isi mesin", en="Engine size"),
            Text(id="inci kubik", en="cubic inches"),
            30,
            600,
            Text(id="Isi silinder mesin", en="Displacement of the engine"),
            Kind.INTEGER,
        ),
        _number(
            "boreratio",
            Text(id="Diameter silinder", en="Bore"),
            INCH,
            1.5,
            6,
            Text(id="Diameter lubang silinder", en="Diameter of a cylinder's bore"),
        ),
        _number(
            "horsepower",
            Text(id="Tenaga", en="Power"),
            Text(id="tenaga kuda", en="horsepower"),
            20,
            800,
            Text(id="Tenaga terbesar mesin", en="Greatest power of the engine"),
            Kind.INTEGER,
        ),
        _number(
            "citympg",
            Text(id="Konsumsi di kota", en="City mileage"),
            MPG,
            5,
            100,
            Text(id="Jarak tempuh di kota", en="Distance per gallon in town"),
            Kind.INTEGER,
        ),
        _number(
            "highwaympg",
            Text(id="Konsumsi di jalan tol", en="Highway mileage"),
            MPG,
            5,
            120,
            Text(id="Jarak tempuh di jalan tol", en="Distance per gallon on the highway"),
            Kind.INTEGER,
        ),
        _choice(
            "CompanyName",
            Text(id="Merek", en="Brand"),
            Text(id="Merek mobil; huruf besar dan kecil sama saja", en="Brand of the car, in any case"),
            BRANDS,
            sql="t.company_name",
            aliases=("CarName", "Brand", "Make"),
        ),
        _choice(
            "fueltype",
            Text(id="Bahan bakar", en="Fuel"),
            Text(id="Bensin atau solar", en="Petrol or diesel"),
            ("gas", "diesel"),
        ),
        _choice(
            "aspiration",
            Text(id="Pemasukan udara", en="Aspiration"),
            Text(id="Biasa atau turbo", en="Standard or turbo"),
            ("std", "turbo"),
        ),
        _choice(
            "doornumber",
            Text(id="Jumlah pintu", en="Doors"),
            Text(id="Dua atau empat", en="Two or four"),
            ("two", "four"),
        ),
        _choice(
            "carbody",
            Text(id="Bentuk bodi", en="Body"),
            Text(id="Bentuk bodi mobil", en="Shape of the body"),
            ("convertible", "hardtop", "hatchback", "sedan", "wagon"),
        ),
        _choice(
            "drivewheel",
            Text(id="Penggerak", en="Drive"),
            Text(id="Roda penggerak: depan, belakang, keempatnya", en="Driven wheels: front, rear, all four"),
            ("fwd", "rwd", "4wd"),
        ),
        _choice(
            "enginetype",
            Text(id="Jenis mesin", en="Engine type"),
            Text(id="Susunan katup dan mesin", en="Layout of valves and engine"),
            ("dohc", "dohcv", "l", "ohc", "ohcf", "ohcv", "rotor"),
        ),
        _choice(
            "cylindernumber",
            Text(id="Jumlah silinder", en="Cylinders"),
            Text(id="Jumlah silinder, ditulis dengan huruf", en="Number of cylinders, as a word"),
            ("two", "three", "four", "five", "six", "eight", "twelve"),
        ),
        _choice(
            "fuelsystem",
            Text(id="Sistem bahan bakar", en="Fuel system"),
            Text(id="Karburator atau injeksi", en="Carburettor or injection"),
            ("1bbl", "2bbl", "4bbl", "idi", "mfi", "mpfi", "spdi", "spfi"),
        ),
    ),
    target=Target(
        name="price",
        sql="t.price",
        kind=Kind.NUMBER,
        title=Text(id="Harga", en="Price"),
        meaning=Text(id="Harga jual", en="Selling price"),
        unit=Text(id="dolar AS", en="US dollars"),
        minimum=100,
        maximum=1_000_000,
    ),
    task=Regression(
        segments=Segments(
            labels=(Text(id="Rendah", en="Low"), Text(id="Menengah", en="Mid"), Text(id="Tinggi", en="High"))
        ),
    ),
    example={
        "wheelbase": 102.4,
        "carlength": 175.6,
        "carwidth": 65.2,
        "curbweight": 2372,
        "enginesize": 122,
        "boreratio": 3.31,
        "horsepower": 92,
        "citympg": 27,
        "highwaympg": 32,
        "CompanyName": "Toyota",
        "fueltype": "gas",
        "aspiration": "std",
        "doornumber": "four",
        "carbody": "sedan",
        "drivewheel": "fwd",
        "enginetype": "ohc",
        "cylindernumber": "four",
        "fuelsystem": "2bbl",
    },
    data_source=Text(id="Data tiruan sampai berkas Anda diimpor", en="Mock data until your own file is imported"),
)
