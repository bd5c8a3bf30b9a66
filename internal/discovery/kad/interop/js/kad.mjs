// A js-libp2p node of a Kademlia network that a Go test drives: one JSON object a line,
// commands on standard input, events on standard output. It ends when its input does.
//
//   {"do":"dial","addr":"/ip4/..."}       connect
//   {"do":"find","peer":"12D3..."}        look a peer up in the hash table
//   {"do":"table"}                        tell how many are in the routing table
//
//   {"event":"listening","addr":"/ip4/..."}    once, first
//   {"event":"dialled"}
//   {"event":"found","addrs":["/ip4/..."]}     none if nobody of the table knows it
//   {"event":"table","size":2}
//   {"event":"error","text":"..."}
//
// Argument: the protocol of the hash table.
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
const { ping } = await import('@libp2p/ping')
const { kadDHT, passthroughMapper } = await import('@libp2p/kad-dht')
const { peerIdFromString } = await import('@libp2p/peer-id')
const { multiaddr } = await import('@multiformats/multiaddr')

const [protocol] = process.argv.slice(2)
const tell = (o) => process.stdout.write(JSON.stringify(o) + '\n')

const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    // Loopback addresses are taken, and a server answers.
    dht: kadDHT({ protocol, clientMode: false, peerInfoMapper: passthroughMapper })
  }
})
tell({ event: 'listening', addr: node.getMultiaddrs()[0].toString() })

const commands = {
  async dial ({ addr }) {
    await node.dial(multiaddr(addr))
    tell({ event: 'dialled' })
  },
  async find ({ peer }) {
    const addrs = []
    try {
      for await (const e of node.services.dht.findPeer(peerIdFromString(peer), { signal: AbortSignal.timeout(5000) })) {
        if (e.name === 'FINAL_PEER') addrs.push(...e.peer.multiaddrs.map(String))
      }
    } catch (err) {
      if (err.name !== 'NotFoundError' && err.name !== 'AbortError' && err.name !== 'TimeoutError' && err.name !== 'QueryError') throw err
    }
    tell({ event: 'found', addrs })
  },
  async table () {
    tell({ event: 'table', size: node.services.dht.routingTable.size })
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
