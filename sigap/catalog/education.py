"""Readiness of Indonesia's provinces for a new curriculum."""

from sigap.catalog.declaration import Clustering, Column, Declaration, Feature, Kind, Source, Text

EDUCATION = Declaration(
    name="education",
    title=Text(id="Kesiapan pendidikan", en="Education readiness"),
    question=Text(
        id="Provinsi mana yang siap menerima kurikulum baru, dan apa yang menahan yang lain?",
        en="Which provinces are ready for a new curriculum, and what holds the others back?",
    ),
    source=Source(
        table="education_data",
        relation=(
            "education_data AS t"
            " LEFT JOIN provinces AS p ON p.provinsi_id = t.provinsi_id"
            " LEFT JOIN definition_breaks AS b ON b.provinsi_id = t.provinsi_id AND b.tahun = t.tahun"
        ),
        key=("provinsi_id", "tahun"),
        entity="provinsi_id",
        entity_name="provinsi",
        time="tahun",
    ),
    columns=(
        Column(
            name="provinsi_id",
            kind=Kind.TEXT,
            required=True,
            pattern=r"P[0-9]{2}([0-9]{2})?",
            form=Text(id="P dan dua atau empat angka, seperti P35", en="P and two or four digits, such as P35"),
            aliases=("kode_bps",),
            meaning=Text(
                id="Kode BPS provinsi (P35) atau kabupaten/kota (P3578)",
                en="BPS code of the province (P35) or district (P3578)",
            ),
        ),
        Column(
            name="provinsi",
            kind=Kind.TEXT,
            required=True,
            aliases=("prov_name", "province", "nama_provinsi", "kabkota"),
            meaning=Text(id="Nama provinsi", en="Name of the province"),
        ),
        Column(
            name="tahun",
            kind=Kind.INTEGER,
            required=True,
            minimum=1990,
            maximum=2100,
            aliases=("year",),
            meaning=Text(id="Tahun angka", en="Year of the figures"),
        ),
        Column(name="ibukota", kind=Kind.TEXT, sql="p.ibukota", meaning=Text(id="Ibu kota", en="Capital")),
        Column(
            name="lat",
            kind=Kind.NUMBER,
            sql="p.lat",
            minimum=-90,
            maximum=90,
            meaning=Text(id="Lintang ibu kota, derajat", en="Latitude of the capital, degrees"),
        ),
        Column(
            name="lon",
            kind=Kind.NUMBER,
            sql="p.lon",
            minimum=-180,
            maximum=180,
            meaning=Text(id="Bujur ibu kota, derajat", en="Longitude of the capital, degrees"),
        ),
        Column(
            name="break_id",
            kind=Kind.TEXT,
            sql="b.keterangan_id",
            meaning=Text(id="Perubahan batas atau definisi", en="Change of border or definition, in Indonesian"),
        ),
        Column(
            name="break_en",
            kind=Kind.TEXT,
            sql="b.keterangan_en",
            meaning=Text(id="Perubahan batas atau definisi, dalam bahasa Inggris", en="Change of border or definition"),
        ),
    ),
    features=(
        Feature(
            name="angka_melek_huruf",
            kind=Kind.NUMBER,
            title=Text(id="Angka melek huruf", en="Literacy rate"),
            meaning=Text(
                id="Penduduk 15–59 tahun yang dapat membaca dan menulis",
                en="People aged 15–59 who can read and write",
            ),
            unit=Text(id="%", en="%"),
            minimum=0,
            maximum=100,
            higher_is_better=True,
            aliases=("AMH",),
            source="BPS",
        ),
        Feature(
            name="rata_lama_sekolah",
            kind=Kind.NUMBER,
            title=Text(id="Rata-rata lama sekolah", en="Mean years of schooling"),
            meaning=Text(
                id="Tahun pendidikan yang telah dijalani penduduk 25 tahun ke atas (metode IPM)",
                en="Years of education completed by people aged 25 and over (HDI method)",
            ),
            unit=Text(id="tahun", en="years"),
            minimum=0,
            maximum=20,
            higher_is_better=True,
            aliases=("RLS", "Rata Lama Sekolah"),
            source="BPS",
        ),
        Feature(
            name="harapan_lama_sekolah",
            kind=Kind.NUMBER,
            title=Text(id="Harapan lama sekolah", en="Expected years of schooling"),
            meaning=Text(
                id="Tahun pendidikan yang dapat diharapkan anak usia 7 tahun (metode IPM)",
                en="Years of education a child of seven can expect (HDI method)",
            ),
            unit=Text(id="tahun", en="years"),
            minimum=0,
            maximum=25,
            higher_is_better=True,
            aliases=("HLS",),
            source="BPS",
        ),
        Feature(
            name="rasio_guru_murid",
            kind=Kind.NUMBER,
            title=Text(id="Murid per guru", en="Pupils per teacher"),
            meaning=Text(
                id="Jumlah murid untuk satu guru, sekolah dasar", en="Number of pupils to one teacher, primary school"
            ),
            unit=Text(id="murid", en="pupils"),
            minimum=1,
            maximum=100,
            higher_is_better=False,
            aliases=("Siswa per Guru", "Murid per guru"),
            source="Kemdikbud",
        ),
        Feature(
            name="anggaran_pendidikan_persen",
            kind=Kind.NUMBER,
            title=Text(id="Anggaran pendidikan", en="Education budget"),
            meaning=Text(
                id="Bagian APBD provinsi untuk urusan pendidikan", en="Share of the provincial budget for education"
            ),
            unit=Text(id="% APBD", en="% of the budget"),
            minimum=0,
            maximum=100,
            higher_is_better=True,
            source="Neraca Pendidikan Daerah",
        ),
    ),
    task=Clustering(
        published_share=0.95,
        carry_forward=2,
        # Two highland provinces of Papua lie so far below all others that plain K-Means splits off just them
        # (k = 2: 36 + 2). Winsorizing keeps them lowest without letting them decide alone how the rest is grouped.
        winsorize=0.05,
        minimum_entities=10,
        smallest_cluster=2,
        smallest_share=0.05,
        stability_floor=0.6,
        # The ministry plans in three levels; without a preference, one province's new figure may turn three into six.
        preferred_clusters=3,
        best=Text(id="Tinggi", en="High Readiness"),
        middle=Text(id="Menengah", en="Middle Readiness"),
        worst=Text(id="Rendah", en="Low Readiness"),
    ),
    request_columns=("provinsi_id",),
    example={
        "provinsi_id": "P35",
        "angka_melek_huruf": 98.5,
        "rata_lama_sekolah": 9.2,
        "harapan_lama_sekolah": 13.1,
        "rasio_guru_murid": 20.5,
        "anggaran_pendidikan_persen": 15.0,
    },
    data_source=Text(
        id="BPS (lama sekolah, melek huruf), Kemdikbud 2023/24 (murid per guru), NPD 2023 (anggaran)",
        en="BPS (schooling, literacy), Kemdikbud 2023/24 (pupils per teacher), NPD 2023 (budget)",
    ),
)
