// BFT-SMaRt's built-in key pairs, one per loader, which `defaultkeys = true` gives to everybody. They protect nothing: whoever
// can read this can sign as anybody. The numbers are facts about BFT-SMaRt's sources; none of its code is here.
//
// The pair of the ECDSA loader has been seen at work in recorded frames. Those of RSA and SunEC are as public copies of the
// sources have them. These copies disagree about RSA with 2048 bits: the pair that stands with the folder `keys` and the
// signature SHA512withRSA is taken for v1.2's, the one that stands with `keysRSA` for master's.

import Foundation
import PBFT

/// Pairs that everybody has.
enum BuiltInKeys {
  /// The pair of a kind in a series of BFT-SMaRt; nil for Ed25519, which it does not have.
  static func pair(_ kind: KeyKind, of dialect: ClientDialect) -> ClientKeyPair? {
    switch kind {
    case .ed25519: nil
    case .ecdsaP256: sunECPair
    case .ecdsaSecp256k1: ecdsaPair
    case .rsa(bits: 1024): rsa1024Pair
    case .rsa: dialect == .master ? rsa2048Pair : rsa2048PairOf12
    }
  }

  private static let ecdsaPair = pair(ecdsa)
  private static let sunECPair = pair(sunEC)
  private static let rsa1024Pair = pair(rsa1024)
  private static let rsa2048Pair = pair(rsa2048)
  private static let rsa2048PairOf12 = pair(rsa2048Of12)

  private static func pair(_ base64: String) -> ClientKeyPair {
    guard let der = Data(base64Encoded: base64), let pair = try? KeyEncoding.privateKey([UInt8](der)) else {
      preconditionFailure("a built-in key is no key")
    }
    return pair
  }

  // PKCS #8 in base64, as their loaders have them.

  /// The ECDSA loader's, on secp256k1.
  private static let ecdsa = """
    MD4CAQAwEAYHKoZIzj0CAQYFK4EEAAoEJzAlAgEBBCBnhIob4JXH+WpaNiL72BlbtUMAIBQoM852d+tKFBb7fg==
    """

  /// The SunEC loader's, on P-256.
  private static let sunEC = """
    MEECAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcEJzAlAgEBBCCzKihManx3ughKcT5x8mdNj9GFGxH1UvKVKm8LqbDlig==
    """

  /// The RSA loader's of earlier versions, 1024 bits.
  private static let rsa1024 = """
    MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBALC6hNZtIUOdWOiHB1l+2gDC/egLFQ+dSKI00f2levIR\
    byRIVEZUnvMkLDEme3dhkaek8bGcLeEAjheQbbqE7v5PGSBpia/kZtqYv3jq5khLG/Ro1fdhto5//8wLoXy1KEV8Kela\
    WPrwVi6Uzl0LY444dpQl+h9CGZd+xoRZTbnXAgMBAAECgYAJaUVdrd4RnbV4XIh1qZ2uYLPowX5ToIqXqLxuB3vunCMR\
    CZEDVcpJJGn+DBCTIO0CwnPkg26mBsOKWbSeNCoN5gOi5yd6Poe0D40ZmvHP1hMCQ9LYhwjLB3Aa+Cl5gYL074Qe/eJF\
    qJaYjZApkeJUAy1HkXhM5OBW9grrXxg6YQJBAPTIni5fG5f2SYutkR2pUydZP4haKVabRkZr8nSHuClGDE2HzbNQjb17\
    z5rRVxJCKMLb2HiPg7ZsUgGK/J1ri78CQQC405h45rL1mCIyZQCXcK/nQZTVi8UaaelKN/ubLQKtTGenJao/zoL+m39i\
    +gGRkHWiG6HNaGFdOkRJmeeH+rfpAkEAn0fwDjKbDP4ZC0fM1uU4k7EyczJgFdgCGY7ifMtXnZvUI5sL0fPH15W6GH7B\
    zsK4LVvK92BDj6/aiOB80p6JlwJASjL4NSE4mwv2PpD5ydI9a/OSEqDIAjCerWMIKWXKe1P/EMU4MeFwCVLXsx523r9F\
    2kyJinLrE4g+veWBY7+tcQJBAKCTm3tbbwLJnnPN46mAgrYb5+LFOmHyNtEDgjxEVrzpQaCChZici2YGY1jTBjb/De4j\
    ii8RXllAtUhBEsqyXDA=
    """

  /// The RSA loader's in master, 2048 bits.
  private static let rsa2048 = """
    MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCAz8nkWMT4KgqLr8oQhqyhoFGXf+cOKG/BU2GHDkZ2\
    onQ58e5+RSUINIenuiDjj6iOqpz9YGovXLyV19/8qFyfHU6+t7xrq4JsJKVjBRVcSV1ZmRKH7x5zOJ+XXJ9Q/9tjChlW\
    DKpJI+/IacT9kmNGdbZ0pi+xEyFZKsZZiFDzFSAaTK3Ppd0sdq8Gb4TigE/IHxZ6ofZim5/axs8nwuLckMoMksavbDgm\
    lcC3CLgpMdvKtg4TzO00T4p7/4YiDyXzldXUxw5LhpKS5g0W3tX2wwzaBUb8NRdkz7gz8LnzDE8rThRfaDVHvgLsaf8E\
    WbHwQpl33nmptiOsUdDkEw6PAgMBAAECggEAJ82NajUP8Es1ZQKV4tNqpqrea30HTbWrCscUHOKJXYFHftxGQNhm4Akz\
    Xd3C6e5rPGJ2DklrpmT2lSrWuMDhlf09Zutpmq+tpnMQc++PMSwuX1BQjJaUBzCZB/GD/UiCZzEosRFK0Tz8jCY6y8wf\
    Rxd6oML1e7cYl/ACyIm50dLhKD6AndHn1n+IqYxiTZWsQZpjmgVtxZJOFue21/Py2sSuTYP9mP4xbN+DhOmIyup4/opX\
    EfpVp7DfKWL/wPmgTZNaWFT6n/t1bhhUJc8CDXWEWUihs0oAj/IjgGBYdzQuReVPrfHn2DmCiSh5TYFqrkPe55MLUiJz\
    fsMpyuojiQKBgQDz90///bVz4saK5e3v5prZiuJ7IHf9v5mY6uWnMOBBy+PoLpuk7kCXHgkPCpXdgcYMBe9NHIKfSCt+\
    bPrROlDPXRpiwdq+yegEAC4g4zYBXOD8UAWQvaFmVMUt/ggaElnuzFhD/6uUvEKUDFad2YAOIEUrGn1Od1X4aCjb4hp7\
    fQKBgQCHKlx6Fmxgbw0ahL0mX18WGSZxp+Ut+7YYRAKbubdl7rbBGSLEs6jS3WFRDObHbvYlpCUTaKpYaheyyDzIK8ZC\
    xrnZJOhauD3YarlpSUY0VAHSdbwrWtwAht+nntiyy30zbhJmw8+d+h1ibYHLwm+nBwLDfGorsz6V6ytQYN7X+wKBgQDc\
    gaVSSJuQIeG4O3hjBHjjtY9dIIyz0lDfETj/c8LOVZ4qBq5xVVMWA3TGnpe0PQ6nYVnYxbMeipmdTJ0rLV1K/+jQaEzx\
    cwb9Trhiy1rNwogsJZvSJkPSfT43gssJ3Zphp1sEIvuPlNVMgRZs1+DRY8OA4RFvMZeHzYVYsLWk9QKBgBzwpPw+8NV0\
    8YlMAnPE18cTe3e6SwedbU+kwCo3iVz5z4doqlkTXoJHhB6mdIMe7vUAQC/3qQFlNc3BscHqHXkOs5wamuVRrWw47Znt\
    Zmqt0fYN30wpGBHEzv5EtIETsKriVm5KXpmkg8YfTDskVmOczKquaM0Sg8P1pkB/fTchAoGAZuyT35wV82CRA8d8GGQg\
    PBMtsHBcSQAeORALo33vRPgxZ4GluKT1myp/NruYjMFQXuvOgox3fAio8AwJpduRJYmetw3MypX3VZBCyziByG9ks2fb\
    gGflyZ/fLyzsVAg4V6ErqMLP+pC5VYjs2PskXdGcw02y1COmHk3XIKSu+qw=
    """

  /// The RSA loader's in v1.2, 2048 bits.
  private static let rsa2048Of12 = """
    MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCiRkLvnDYhAsTICAKlCoIMfeR5N0er7eUU5kk9sB6/\
    jOrve6Y4HdsV1JW7Q6ltPBXsyjsIcZOu0HiiL9ES+AvrHAv8Montjb9wBD3WXgCmCa3Jfp3QRKxVZnMKDnvONqLAfPNU\
    3ntHyrj+HcJxTGMOYJC0L0XhbzfCb+wW9pMGi9uRVArnLbAGJDeb6cUD1hbP52BnLvCHg0k1u+cyl+FMGzvc/rgN7qLY\
    P+/ZuM0miR7WZ1JMzb4r1pKnAoER520j+aRCpC8D94IA800OJ1cBUJ7B8c42lG7jBz+i+M8b7oCWupFIRjL4a0Cd2DI8\
    Vzwv5VcAx0DIh7zXT2BPPj6XAgMBAAECggEAWzGdIEbrbHW/3KITymgzWY3OPgjA8HAK00nvUwmM3hz1UoxshxDQNF55\
    nvmRV1/y+lVUA5TAZ/ekM5Enr79SA1iJq7tDJAsK0Iqxray6NJUv4xKS4Z4WMxAWCkrFbMfrgr01ijZVlazpdXWH9l/1\
    Mvk1mO0QGnaEIXMAfI8pZP2CXL3oEIv+uhbPytdkwlCFtCgwLpteTbmX806i5R2NaeMS8JwGpI8bSL143Lxl1nR0w7X9\
    +5LyXEFuOJRdy/qsso1/fqxFG/CXg3GCTJwWGsFWS2jEF0NVRAj/OOVlNp2smbvTRRXN+eRjAbc06R4aVlW9GwkMq0xa\
    X4DIzVhWwQKBgQDZp+dRTqLXHkvPrqhEQOrrFS2mKmjnD1vFn1hBCGcezRfVcdY2zPumZvmFvUvdcHB+sOo7UHCTzKLe\
    u61eI26qDmkSuATiyZuwp+rzjRzq9+lzdyq1ikP5XiCg/W5u0fXLFIbQ05o+T6Mp0DDXllKh0tKRFTP18FP3qcNEB3Gw\
    cQKBgQC+3LPo+EFXECZMTnZYnYOd6c+0KCWFgbgtbqsBUe6uZe5jiwrCq8ypAWcZpYBlEEnX0lZVfavSZLx+CUJE6zcn\
    uV4B9qPjCEJMS1UTMDo2DPAbiUlNo29i/hgZ30UhhcxeNcDxyV4LCwzeVXjSGoj6lpH912ckgE76aJf+izbjhwKBgADG\
    GQtv9SJAqFJXs59yf6NQUvY5RmAz7MaaF207w2oXnpMSsYlGV0qzKQXxs1hZMv0wUdTeJ1hPLPEPx8EC7TzLilIXt2S7\
    BMOvBSXShZzMPtc7QDqfADjdvc30uLTKKE6NhyEs72pzTAg1Bkdt8GNE5ZzAb4vbS+EgiGIwiJXxAoGBAI7kGwl6+ygc\
    Xh/Yyj9zxbru9mKRf+3g/St+ZCZ72a7Vf1ElIqw2BOYut6p6vpJrTG14+svMZ1v/sSLG+ccxNjzWSaw8o9vwLfqCl7Hi\
    9GHM8+IZuTiX+Gdrhk2wW0hKrIOHyOj78h1ga4T1Bpx94zmAitI5du3b5cURk2Gthi13AoGAYj6ygbie5vGSEi68/6dB\
    7whHLsk2aqL9/8qe5CDGCPy43YhDXpHrJokHQ4xh3HR9QZuoEqV9oOYREVGjXYx4P1nUqKNMrbzXoypPczx+hNO22rJc\
    u/flMmXGeC9q7tBbnuT6c8vKo3RLvwp7KA+fDYCMsfbeBa66hOVweG262hM=
    """
}
