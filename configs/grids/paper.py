"""Tables 1 to 9 and Figure 3. What tables have in common is computed once."""

include = [
    "table1.py",
    "table2.py",
    "table3.py",
    "table4.py",
    "table5.py",
    "table6.py",
    "table7.py",
    "table8.py",
    "table9.py",
    "figure3.py",
]
