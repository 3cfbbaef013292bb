"""Where the price of bitcoin closes next, beside the naive forecast that it stays where it is."""

from sigap.catalog.declaration import Column, Declaration, Feature, Forecasting, Kind, Source, Target, Text

USD = Text(id="dolar AS", en="US dollars")


def _price(name: str, title: Text, meaning: Text) -> Feature:
    return Feature(
        name=name, sql=f"t.{name}", kind=Kind.NUMBER, title=title, meaning=meaning, unit=USD, minimum=1e-8, maximum=1e8
    )


BITCOIN_PRICE = Declaration(
    name="bitcoin_price",
    title=Text(id="Harga bitcoin", en="Bitcoin price"),
    question=Text(
        id="Di mana harga ditutup berikutnya, dan apakah itu lebih baik daripada menebak tetap?",
        en="Where does the price close next, and is that better than guessing that it stays?",
    ),
    source=Source(
        table="candles",
        relation="(SELECT * FROM candles WHERE product = 'BTC-USD' AND step = '1d') AS t",
        key=("opened_at",),
        entity="opened_at",
        time="opened_at",
    ),
    columns=(
        Column(
            name="opened_at",
            sql="t.opened_at",
            kind=Kind.TIMESTAMP,
            required=True,
            aliases=("Open time", "time", "timestamp", "date"),
            meaning=Text(id="Awal candle, UTC", en="Start of the candle, UTC"),
        ),
    ),
    features=(
        _price("open", Text(id="Pembukaan", en="Open"), Text(id="Harga pertama", en="First price")),
        _price("high", Text(id="Tertinggi", en="High"), Text(id="Harga tertinggi", en="Highest price")),
        _price("low", Text(id="Terendah", en="Low"), Text(id="Harga terendah", en="Lowest price")),
        Feature(
            name="volume",
            sql="t.volume",
            kind=Kind.NUMBER,
            title=Text(id="Volume", en="Volume"),
            meaning=Text(id="Bitcoin yang diperdagangkan", en="Bitcoin traded"),
            unit=Text(id="BTC", en="BTC"),
            minimum=0,
            maximum=1e12,
        ),
    ),
    target=Target(
        name="close",
        sql="t.close",
        kind=Kind.NUMBER,
        title=Text(id="Penutupan", en="Close"),
        meaning=Text(id="Harga terakhir", en="Last price"),
        unit=USD,
        minimum=1e-8,
        maximum=1e8,
    ),
    task=Forecasting(),
    example={},
    data_source=Text(
        id="Data tiruan sampai berkas Anda diimpor atau bursa tersambung",
        en="Mock data until your own file is imported or the exchange is connected",
    ),
)
