"""A UDF disk with the file `ovf-env.xml`, as Azure attaches one.

Made by `genisoimage -quiet -udf -V rd_rdfe_stable.1 TREE | xz -9e | base64` (cdrkit 1.1.11): none
of our own code had a hand in it.
"""

import base64
import lzma

_COMPRESSED = (
    "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM7Rf/BzJdAABv/f//o7f/Rz5IFXI5YVG4kijmo4YH+e7kHoLTL8U6PAFLsX7J"
    "iopNL6MN2X+m44wjEVPgWRjFdYrid/dE790OjkefKuUNdUG7Q609LBiddP6f3lWwkLME2HjKWLNxxC8gkjejZ1dqcVr4"
    "CgIJVczTeOOKSMKJyVwhe1jUEENYyW+Vu4XuOwhBA6Y/bolNeOur8/42XIw7PJSVQulJxqgoRhTL+fGYU7ZkQushglh5"
    "kPu9iOb9aLHJ7PGHAzzgcb+4qzru/3Ueva8CTkPt36WWizJ0D4VVUICiKGuTwRIjyXHXxaggGiETZJNjkw327fZvDsLg"
    "5u9SxCUWYD4iz/YfaLtOXvZtNjzykyfH6nrAz1uKDO5emP7klWDO15nNsniwq/64kRPYMMXnnYGnC5lLUijH2q4gKkZV"
    "rGU68E6LdTSZAWlLvyB0pdBua2WnAthYk8Mcjw3j2T1Ug40J2AdeEiL0ghmE63A7CnbHnT/+jVh2qsgcE2gvtQ/h27H2"
    "sFcuAIoe+p6UOHjM5wwRTIt+Nn9k9wXIG6xJq0bTN8IJxgThIDkGoti3ZUk1d8RIndvoXMa0lawtMPOX783LKwl0hpRz"
    "m7NjVqRagqTLQvBY6qlD1L7GqE0iO14wPDpBNjmUAxEyfo80iMg6ZS4tPlKNefm8ybH0y4sxkPNvTl/T3Vc7Auvp9AcD"
    "XhnMLxQq8EKA4R0u2e/M9tohnkt2+tcdJMdjR+c9Sa4eCq3w1tc/0z2LtHwMgsqt1WvHEZp25IhjmNopeK3Pxh32HFrp"
    "QkGgwYdfdUqmUdv997L1dF3MH9iQWU44l/sf8k/mGCWZq2UF2wXg9sfZaqPrt1FBrDhaTTy70YigIzQcI/bSvAGbo9S/"
    "iNf2+7JhfIBUptqZ9Q5y1unmq28SN8s+ysttgadD0qESTnfmkygxNwpR/OvQUHUsMNvCUFSRIpcGA1/JcDsUwDI3mKUV"
    "AaXoowkq7Kr/WiascgnQ4t+BA8XWXcL/OA96VI7vhalCFlk/WHXdYjZdCJoWYKNR19GYNxVCdc1bMcvIuYvmbU6yU2Fk"
    "Mf1vhJ3cyugaB0cYqwoPQmEltnEb9fLkufom5qVQC3WNlNt96sRiXw1U7Lq8bDsRdt89+0oRM+jrMd18NRiwuQLpo4Kv"
    "oBNd34rkcgNLkCoyPUpZkKql9LRQqfplSswoPArYoZ1rcArN4N4SvOMIhF1DxlxO8sv76clGgQdZRw5YJ9NPf9clm6Yt"
    "yo2AVF1Fs3toodg3a1K/qmKWAkPNuC//k6k+4kw5wOyvujQsglFyo+KcgMxD+gQyille5+E/e2gVrjY4sBUQS3vKUYpz"
    "q0RFzgJLXu4nbhzNgve0/9kfw5qRwEZocK+6bfItrvssB730Enx/4EWp9oIgXdVVkaf1sjYhGOb2fwtETrvOsNrhROx0"
    "q3yPtQUvk0+mzeW1iNSiAuKylCSJMooLDyEPg/mzK/TBReM8Kwc5gaIC88TCZvRMUtvCt5TR+AlPF+XoWTFpfp416vUA"
    "Gkiqkj/53rL4TbKfk9YjdqAY3zjjlWVYZilRVlDdv7wLVmp2fK2ClNn3JJ/qxiuoyAp6iNcAR7y3T0IDhVmqdFV1EsEa"
    "p/ZmipT5oBVdGS6hg/RgTLxW+iqO0vstQUwCgknHm1L0+A+UFtMUrxrVJGsuiPBTnW4siUT7HO+BjTY3aKjjsMCrWwhR"
    "iwQ3lOUNEEtnGDEpXAnTi5qWNRe4VHV8NCs4WrjMWTvvAmmWpPv63OlCOL0tkdhpXHI4V46lqRm9Mx4p3ikWCED9OTe6"
    "hLwqR6zE2UJ60zMzKH4bRoBNLsUWJtxu3FIZV8/mAIIcyfXbs68hOhfOymDGQB1cUlBzRO06ZLW7O9NS27zdWfoumy/E"
    "WNRSvFDcxHISnjFnL8qkOSFIWydOjzZnxjF6elmas9f+5m5a7qLnTAzpNrzXIQZxWJeIqn/in6Nw9uAQDxKPdJz9/CbV"
    "b9Xqy1fGFl9BjHYVetvyGPcP1H8a2pCt8xUL5bWOL6gpG7kIGFDKPoLysgiXv9WCyh6FLq1G4aNXmbZDd3GNVxGBQrFc"
    "bNEYKwVKsKVH/dCzWaw655s0odPPnncKGw3MBPl/+gYt8bc9zunJXGTelQhEijw6aY8prjm/Tuunm1l/LHfaELUrg+Ep"
    "uHkmhYGZ/6y2J+l9O4LRl7UjPLaL7wNEOgTlBHkVzVg+7viW5bI+5Zcg9o3er1t2mBb0yGx6KthNoEbfPWGbpe8j5F4i"
    "qUVJK/Czey2zpNB4jaQLOOR6cIbROBeEcK5xTXBX1MnsmFshQB9GucUYuRXT+j21FG4IZQ2x0XjqXVIzKj+MbAWrRYc7"
    "ax1ZyfV4OgJtYaXchDoVcB+MczU8NCzqbm6gto8AaKKw9vXsYjot6jk1aKt0IVsz+m2iAg9ne6gN5YXMnb0b+T74Hwbg"
    "NJlDcjUkkvEFAAAAADJsB+b43fXqAAHODoCwNACkrqrEscRn+wIAAAAABFla"
)

IMAGE = lzma.decompress(base64.b64decode(_COMPRESSED))
CUSTOM_DATA = b"#cloud-config\nhostname: ship\n"
