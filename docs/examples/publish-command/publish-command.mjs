// Publish one signed command and read its outcome, with Node 20 and kafkajs:
//   npm ci && node publish-command.mjs acme/ci ci.pem StartRun '{"pipeline": ..., "data_partition": ...}'
// Needs a key registered by `barecount publishers register ci --role operator --key ci.pem`, and the brokers in
// BARECOUNT_KAFKA_BOOTSTRAP, BARECOUNT_KAFKA_USERNAME and BARECOUNT_KAFKA_PASSWORD.
import { createHash, createPrivateKey, randomUUID, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { decompress } from 'fzstd'
import kafkajs from 'kafkajs'

const { CompressionCodecs, CompressionTypes, Kafka, Partitioners, logLevel } = kafkajs
// what the product's topics hold, and kafkajs leaves to its users
CompressionCodecs[CompressionTypes.ZSTD] = () => ({ decompress: async (frame) => Buffer.from(decompress(frame)) })
const [kid, keyFile, type, data] = process.argv.slice(2)
const env = (name) => process.env[`BARECOUNT_KAFKA_${name}`]
const base64url = (bytes) => Buffer.from(bytes).toString('base64url')

/** UUIDv5 (RFC 9562, 5.5) */
function uuid5(namespace, name) {
  const bytes = createHash('sha1').update(Buffer.from(namespace.replaceAll('-', ''), 'hex')).update(name).digest().subarray(0, 16)
  bytes[6] = (bytes[6] & 0x0f) | 0x50
  bytes[8] = (bytes[8] & 0x3f) | 0x80
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

const tenant = kid.split('/')[0]
const principal = `publisher:${kid}`
const jti = randomUUID() // names the command: the same one is never decided twice
const id = uuid5('6f1c1c1e-6a5b-5a43-9a0d-2f1f8b1d7c10', [tenant, principal, jti].join('\x1f'))
const time = new Date().toISOString()
const value = Buffer.from(JSON.stringify({ id, correlation: id, type, version: 1, tenant, principal, time, data: JSON.parse(data) }))

// a detached JWS: what is signed is exactly the record's value
const protectedHeader = base64url(JSON.stringify({ alg: 'EdDSA', kid, jti, exp: Math.floor(Date.now() / 1000) + 300 }))
const signature = sign(null, Buffer.from(`${protectedHeader}.${base64url(value)}`), createPrivateKey(readFileSync(keyFile)))
const jws = `${protectedHeader}..${base64url(signature)}`

const kafka = new Kafka({
  clientId: 'publish-command',
  brokers: env('BOOTSTRAP').split(','),
  sasl: { mechanism: 'scram-sha-256', username: env('USERNAME'), password: env('PASSWORD') },
  logLevel: logLevel.ERROR,
})
// kafkajs 2 hashes keys as Kafka does (murmur2); its LegacyPartitioner and librdkafka's default do not: `wrong-partition`
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: true })
const consumer = kafka.consumer({ groupId: `publisher.${randomUUID()}` })
const admin = kafka.admin()
await Promise.all([producer.connect(), consumer.connect(), admin.connect()])

// where the outcomes end now: ours comes after
const ends = await admin.fetchTopicOffsets('control.events')
const [sent] = await producer.send({ topic: 'pipelines.commands', messages: [{ key: tenant, value, headers: { jws } }] })
const outcome = new Promise((resolve) => {
  consumer.subscribe({ topic: 'control.events', fromBeginning: false }).then(() =>
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ message }) => {
        const event = JSON.parse(message.value)
        // also a record that nobody could read is answered: its cause has this position, if no command_id
        if (event.cause.partition === sent.partition && event.cause.offset === Number(sent.baseOffset)) resolve(event)
      },
    }).then(() => ends.forEach(({ partition, high }) => consumer.seek({ topic: 'control.events', partition, offset: high }))),
  )
})
const late = setTimeout(() => { console.error(`command ${id} has no outcome after 60 s`); process.exit(1) }, 60_000)
const event = await outcome
clearTimeout(late)
console.log(JSON.stringify({ command_id: id, type: event.type, data: event.data }))
await Promise.all([producer.disconnect(), consumer.disconnect(), admin.disconnect()])
