"""Palettes: 256 colours from the lowest level to the highest, and the colours that are in none of them."""

from __future__ import annotations

import base64
import zlib
from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fluoroscope.errors import UsageError

# The colours are those of matplotlib's tables of the same names, and come from:
#   viridis, magma, inferno, plasma   S. van der Walt, N. Smith, E. Firing; CC0
#   cividis   J. R. Nuñez, C. R. Anderton, R. S. Renslow, PLoS ONE 2018, doi 10.1371/journal.pone.0199239
#   turbo     A. Mikhailov, Google 2019; Apache-2.0
#   RdBu      C. A. Brewer and others, ColorBrewer; Apache-2.0
#   coolwarm  K. Moreland, "Diverging Color Maps for Scientific Visualization", ISVC 2009; BSD
# Held as red, green, blue one after the other, each value less the one before it, deflated, in base 85.
_TABLES = {
    "viridis": (
        "c-oCp2@b>{2*moeeM0~L6zPJ41J-1hIY1MsrhG)2)5RpBOj9b8fmBxHRP0rP>tnb;GZ+z<(P4B&bgEYzna$6%)!IQGRh{{dkRR"
        ")PLk^|Tmq9^TLD-3RJi9)8y9m3dhMbyxbY6=bx|f`=Iy(w8x~3t<@?nI15jJYV0o8fA`0o#b6o?4"
    ),
    "magma": (
        "c-n1J2@b#@2!r|mH#6m~BBeAgAP$L$5BQ+3&q=YZ5Y9l8=mCoivZbpzoUA)-)6Jo71fnmQwPa43o&%>;MY+<MdRE1dS%zt_Tjm"
        "Jpnt~0$evrCRi_Z>(he0lGW%gRh>tIFjE$bn=t6Q{DOe2sA?h>RHbf6BxK3YPa0OM+J);wM<zTErzd;Ql;Ew="
    ),
    "inferno": (
        "c-oCp(H4au2m|r{{~uci#t3}6I7X%}z(hnH>Ihr##j$R0==ArC3OT;OZ-+CNN=)EFLgJ3_X%9TW0TMyIA-^z7xzbfAY6?+Jc)D"
        "%Vi|#PzTCHZsdv&Ak_2FvgxDZf<@zm|x=3ukcLepZ+l8j_r!AT^A<g5L6^B?kaT>#0El-%r$cm|ywYT|-<rTM$AD#J^#aI=l!_"
        "S-buFAIiip8"
    ),
    "plasma": (
        "c-nnYTMmRk2t#HQe>}Ix)=h>-+uczfEr^L&j?eHhoNSAvV34AnDMJ$UV8&!sS=TcdrV~VARtUQjX0#XVJtxxkmJuvJ-Rt5H{kQ"
        "OC`!IH(LM8}`6On`ZhG>IMISi>TVi$zC+e+Mkk~K0wibenTlD*LDQ)B35^7wML-2S@0%*37v"
    ),
    "cividis": (
        "c-oax2M&NB3~Z|}@jw3mH&jNY3t~KO;fS#cu*P{F6;y$ZeKm@iRKTi(PZzMe`zL6>r&wq@wfDUGbHT6*wEENW!q3g}z`iE=5^d"
        "o*(`3O8=N{j8NF3!K;Azfd?Z8w~9aSUH^bB^%UWQ_Gy(Sd1D8kZMxDMa}4RS;r"
    ),
    "gray": ("c-muNBmfwg@M8!;0gcR}Kc8XL|0CM}0Dg1={r"),
    "turbo": (
        "c-m!>K@!6t2t^f5?7AoEzW2XXA_YFEjUR+bCc%gJ$(gb%AxKIZQ?eCeaj2`QchB-{(r@g4sYyhIim8^W?kWgkCQ|ocrf!S0h*k"
        "n(0-IB@Ei>j6T(%~jA>IgP>O+_MJ0M1)fZEX(GtLJthy&P<m2j*RKd(nR8tD9lkBA14_a=rq7QUL|bx0jM#JE)7_G+!2YNF#jO"
        "tl^uTJi3^Ex?0!;teY7f8*u<IbWV9uHy+!!p+f<`T@lS9Cwhh>!LC2*-&S{3n=JCIWEgCDg6URU1*R"
    ),
    "RdBu": (
        "c-nPRTN1+{2n0MxkJtPESFA}`c^H@1iXr0wUugwMh%n17#m&GRy;GuF5ts5HqG*25gN&|OoL=~Kz*(PFCmrya%_ndH5`tEUcV&"
        "6I+?b)&=)afDW)p^K4rK3sF+E_wMbq?oFHt|wyrO`}^F-k_ecOSEmJVA(5Ky#=L2MVoZY)|G;)#8X6_lA`L3)Ay0dHksrT"
    ),
    "coolwarm": (
        "c-noE>k-5t2!w&MQo|K}eHrx>d5O-!vTHK=!8hhXB%DQRX%1a8zjSS*?imWi0ha*8re;ZW3l+CZELQVjS$~j-WIR}&8YoX0??x"
        "j$2IFl+xG=*0f3}y^dFu$UG|WalR$Vhy>zGzv?(#LJaDM@aAkb_uiXpdR)#1FD8(Ql|bzw@!<Gg*8+GCUd1?r=ItAbMO"
    ),
}

COLORMAPS = tuple(_TABLES)
"""Names of the palettes. RdBu and coolwarm diverge from a neutral middle: they go with symmetric scaling."""

DEFAULT = "viridis"
"""Even steps to the eye, legible in grey and with any colour vision."""

MARKERS = MappingProxyType({"gap": (0, 40, 0), "flat": (55, 95, 55), "nonfinite": (255, 0, 255)})
"""What is no value, red, green and blue 0..255: the space between maps and behind the last one; a channel
without variation (which is hatched with the gap's colour as well); a NaN or infinite value.

Near-black bottle green, quiet moss green and loud magenta. None is in a palette, nor within 28 units of
CIELAB (CIE76; a just noticeable difference is 2.3) of any colour of any: found by search through all colours,
the two greens among the dark and muted."""


@cache
def palette(name: str = DEFAULT) -> NDArray[np.uint8]:
    """The colours of a palette.

    Returns
    -------
    array
        uint8 ``(256, 3)``, read-only: red, green and blue, 0..255 in sRGB, of each level.

    Raises
    ------
    UsageError
        A name that is not in `COLORMAPS`.
    """
    if name not in _TABLES:
        raise UsageError(f"No colour map is called {name!r}. There are {', '.join(COLORMAPS)}.")
    steps = np.frombuffer(zlib.decompress(base64.b85decode(_TABLES[name])), np.uint8).reshape(3, 256)
    # Sums wrap around at 256, as the differences did.
    colours = np.ascontiguousarray(np.cumsum(steps, axis=1, dtype=np.uint8).T)
    colours.flags.writeable = False
    return colours
