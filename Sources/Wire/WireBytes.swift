// Big-endian integers in raw memory. Nothing here checks bounds: whoever calls has compared lengths before.

extension UnsafeRawPointer {
  /// The big-endian integer `offset` bytes further. Precondition, unchecked: all its bytes are readable.
  @inlinable
  func bigEndian<Integer: FixedWidthInteger>(_ offset: Int, as type: Integer.Type = Integer.self) -> Integer {
    Integer(bigEndian: loadUnaligned(fromByteOffset: offset, as: type))
  }
}

extension UnsafeMutableRawPointer {
  /// Writes `value` as big-endian bytes `offset` bytes further. Precondition, unchecked: they are writable.
  @inlinable
  func storeBigEndian<Integer: FixedWidthInteger>(_ value: Integer, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: Integer.self)
  }

  /// Copies `bytes` to `offset` bytes further; an empty buffer copies nothing.
  @inlinable
  func copy(_ bytes: UnsafeRawBufferPointer, to offset: Int) {
    guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
    (self + offset).copyMemory(from: source, byteCount: bytes.count)
  }
}
