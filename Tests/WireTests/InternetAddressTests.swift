// Numeric addresses: every spelling of one address comes to the same value and the same text, and a name is no address.

import Testing
import Wire

@Suite("Internet addresses")
struct InternetAddressTests {
  @Test(
    "every spelling is written in one way",
    arguments: [
      ("127.0.0.1", "127.0.0.1"), ("255.255.255.255", "255.255.255.255"), ("0.0.0.0", "0.0.0.0"),
      ("::1", "::1"), ("::", "::"), ("0:0:0:0:0:0:0:1", "::1"), ("2001:DB8::0001", "2001:db8::1"),
      ("[2001:db8::1]", "2001:db8::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
      ("fe80::1%7", "fe80::1%7"), ("[fe80::1%0]", "fe80::1%0"), ("::ffff:10.0.0.1", "10.0.0.1"),
      ("::ffff:0a00:0001", "10.0.0.1"),
    ])
  func spellings(text: String, canonical: String) throws {
    let address = try #require(InternetAddress(text))
    #expect(address.description == canonical)
    #expect(InternetAddress(canonical) == address)
    #expect(InternetAddress.canonical(text) == canonical)
  }

  @Test(
    "whatever else is a name",
    arguments: [
      "", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.+4", "1.2.3.4 ", ":::", "1::2::3", "12345::",
      "[::1", "::1]", "[]", "fe80::1%", "fe80::1%eth0", "fe80::1%-1", "fe80::1%4294967296",
      "::ffff:10.0.0.1%1", "2001:db8::1\0",
    ])
  func names(text: String) {
    #expect(InternetAddress(text) == nil)
    #expect(InternetAddress.canonical(text) == text)
  }

  @Test("an address is its bytes and its zone")
  func values() {
    #expect(InternetAddress("1.2.3.4") == .v4(0x0102_0304))
    #expect(
      InternetAddress("2001:db8::2:1") == .v6(high: 0x2001_0db8_0000_0000, low: 0x0002_0001, zone: nil))
    #expect(InternetAddress("fe80::1%3") == .v6(high: 0xfe80_0000_0000_0000, low: 1, zone: 3))
  }
}
