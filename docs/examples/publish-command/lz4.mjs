// Reads LZ4 frames (the product's topics hold some), which kafkajs leaves to its users: github.com/lz4/lz4/tree/dev/doc, frame and block format.

/** The content of one LZ4 frame. Checksums are not looked at: Kafka's own CRC covers the record batch. */
export function decompress(frame) {
  if (frame.readUInt32LE(0) !== 0x184d2204) throw new Error('not an LZ4 frame')
  const flags = frame[4]
  const [blockChecksum, contentSize, dictionary] = [flags & 0x10, flags & 0x08, flags & 0x01]
  let at = 7 + (contentSize ? 8 : 0) + (dictionary ? 4 : 0)
  const out = []
  for (let size; (size = frame.readUInt32LE(at)) !== 0; at += 4 + (size & 0x7fffffff) + (blockChecksum ? 4 : 0)) {
    const block = frame.subarray(at + 4, at + 4 + (size & 0x7fffffff))
    // the highest bit: stored as it is
    if (size & 0x80000000) for (const byte of block) out.push(byte)
    else readBlock(block, out)
  }
  return Buffer.from(out)
}

/** Appends a block's content; matches may reach back into the blocks before. */
function readBlock(block, out) {
  let at = 0
  const length = (short) => {
    let found = short
    if (short === 15) for (let more = 255; more === 255; found += more) more = block[at++]
    return found
  }
  while (at < block.length) {
    const token = block[at++]
    for (let left = length(token >> 4); left > 0; left--) out.push(block[at++])
    // the last sequence has literals only
    if (at >= block.length) return
    const back = block[at++] | (block[at++] << 8)
    for (let left = length(token & 15) + 4; left > 0; left--) out.push(out[out.length - back])
  }
}
