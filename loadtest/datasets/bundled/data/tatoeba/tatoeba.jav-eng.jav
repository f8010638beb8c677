Kucing iku turu ing ngisor meja.
Aku ngombe teh saben esuk.
Ing endi stasiun sepur sing paling cedhak?
Mbakyuku wingi tuku pit abang amarga dheweke kepengin ngepit menyang panggonan kerja.
