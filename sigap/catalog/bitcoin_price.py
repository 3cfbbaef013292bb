"""Where the price of bitcoin closes next, beside the naive forecast that it stays where it is."""

from sigap.catalog.declaration import Column, Declaration, Forecasting, Kind, Source, Target, Text, number

USD = Text(id="dolar AS", en="US dollars")


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
        number("open", Text(id="Pembukaan", en="Open"), Text(id="Harga pertama", en="First price"), USD, 1e-8, 1e8),
        number("high", Text(id="Tertinggi", en="High"), Text(id="Harga tertinggi", en="Highest price"), USD, 1e-8, 1e8),
        number("low", Text(id="Terendah", en="Low"), Text(id="Harga terendah", en="Lowest price"), USD, 1e-8, 1e8),
        number(
            "volume",
            Text(id="Volume", en="Volume"),
            Text(id="Bitcoin yang diperdagangkan", en="Bitcoin traded"),
            Text(id="BTC", en="BTC"),
            0,
            1e12,
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
    # The ingest writes to the table every minute.
    change_minutes=60,
    example={},
    data_source=Text(
        id="Data tiruan, atau data Anda setelah diimpor, atau data bursa",
        en="Mock data, or your own once it is imported, or the exchange's",
    ),
)
