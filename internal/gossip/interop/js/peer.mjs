// A js-libp2p GossipSub peer that a Go test drives: one JSON object a line, commands on
// standard input, events on standard output. It ends when its input does.
//
//   {"do":"dial","addr":"/ip4/..."}            connect
//   {"do":"publish","size":10,"salt":3}        publish the payload of that size and salt,
//                                              of letters only if "letters" is true
//   {"do":"score"}                             tell the score of the only peer
//
//   {"event":"listening","addr":"/ip4/..."}    once, first
//   {"event":"dialled"}
//   {"event":"mesh","peer":"12D3..."}          a peer is in the mesh
//   {"event":"published","peers":1}
//   {"event":"pruned","peer":"12D3..."}        a peer is out of it again
//   {"event":"score","score":-1}               of the only peer
//   {"event":"message","size":10,"sha256":"..."}
//   {"event":"error","text":"..."}
//
// Arguments: the topic, and "signed", "unsigned", or "other-names": unsigned, with
// message IDs that nobody else has.
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'

// Node 20 lacks it.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((res, rej) => { resolve = res; reject = rej })
  return { promise, resolve, reject }
}

const { createLibp2p } = await import('libp2p')
const { tcp } = await import('@libp2p/tcp')
const { noise } = await import('@libp2p/noise')
const { yamux } = await import('@libp2p/yamux')
const { identify } = await import('@libp2p/identify')
const { gossipsub } = await import('@libp2p/gossipsub')
const { multiaddr } = await import('@multiformats/multiaddr')

const [topic, identity] = process.argv.slice(2)
const tell = (o) => process.stdout.write(JSON.stringify(o) + '\n')

function uvarint (n) {
  const out = []
  for (; n >= 0x80; n = Math.floor(n / 128)) out.push((n % 128) | 0x80)
  out.push(n)
  return Buffer.from(out)
}

// contentId is the message ID of unsigned networks: a second implementation of
// the text in the Go package's documentation.
function contentId (msg) {
  const name = Buffer.from(msg.topic)
  return createHash('sha256')
    .update('nebnet/gossip/1').update(uvarint(name.length)).update(name).update(msg.data)
    .digest().subarray(0, 20)
}

function payload (size, salt, letters) {
  const b = new Uint8Array(size)
  for (let i = 0; i < size; i++) b[i] = letters ? 97 + (i * 7 + salt) % 26 : (i * 7 + salt) & 0xff
  return b
}

const options = { allowPublishToZeroTopicPeers: true, emitSelf: false }
if (identity === 'unsigned') {
  options.globalSignaturePolicy = 'StrictNoSign'
  options.msgIdFn = contentId
}

if (identity === 'other-names') {
  options.globalSignaturePolicy = 'StrictNoSign'
  options.msgIdFn = (msg) => createHash('sha256').update('other').update(msg.data).digest()
}

const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), pubsub: gossipsub(options) }
})
const pubsub = node.services.pubsub
pubsub.addEventListener('gossipsub:message', (e) => {
  const data = e.detail.msg.data ?? new Uint8Array()
  tell({ event: 'message', size: data.length, sha256: createHash('sha256').update(data).digest('hex') })
})
pubsub.addEventListener('gossipsub:graft', (e) => tell({ event: 'mesh', peer: e.detail.peerId }))
pubsub.addEventListener('gossipsub:prune', (e) => tell({ event: 'pruned', peer: e.detail.peerId }))
pubsub.subscribe(topic)
tell({ event: 'listening', addr: node.getMultiaddrs()[0].toString() })

const commands = {
  async score () {
    const [peer] = pubsub.getPeers()
    tell({ event: 'score', score: pubsub.score.score(peer.toString()) })
  },
  async dial ({ addr }) {
    await node.dial(multiaddr(addr))
    tell({ event: 'dialled' })
  },
  async publish ({ size, salt, letters }) {
    const { recipients } = await pubsub.publish(topic, payload(size, salt, letters))
    tell({ event: 'published', peers: recipients.length })
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const c = JSON.parse(line)
    await commands[c.do](c)
  } catch (err) {
    tell({ event: 'error', text: String(err) })
  }
}
await node.stop()
