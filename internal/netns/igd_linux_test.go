package netns

import (
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// gateway is a router that forwards ports when it is asked to by UPnP: an Internet
// gateway device of version 1. It tells of each.
type gateway struct {
	Inside, Outside string // its addresses
}

const (
	connection = "urn:schemas-upnp-org:service:WANIPConnection:1"
	described  = `<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0">
<specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><UDN>uuid:1</UDN>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><UDN>uuid:2</UDN>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><UDN>uuid:3</UDN>
<serviceList><service><serviceType>` + connection + `</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
<SCPDURL>/scpd.xml</SCPDURL><controlURL>/control</controlURL><eventSubURL>/event</eventSubURL></service></serviceList>
</device></deviceList></device></deviceList></device></root>`
)

// igd runs a gateway in the namespace of its router until the input ends.
func (p part) igd() error {
	at, err := net.Listen("tcp4", p.Gateway.Inside+":5000")
	if err != nil {
		return err
	}
	defer at.Close()
	lan, err := net.InterfaceByName("lan")
	if err != nil {
		return err
	}
	search, err := net.ListenMulticastUDP("udp4", lan, &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250), Port: 1900})
	if err != nil {
		return err
	}
	defer search.Close()
	go p.Gateway.found(search)
	go http.Serve(at, http.HandlerFunc(p.Gateway.control))
	fmt.Println("ready to forward")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// forward has the router send what comes to an outside port to a node inside.
func (g gateway) forward(proto string, outside uint16, inside netip.AddrPort) error {
	out, err := exec.Command("nft", "add", "rule", "ip", "home", "forwarded",
		"iifname", "eth0", proto, "dport", strconv.Itoa(int(outside)), "dnat", "to", inside.String()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	fmt.Println("forwarded", proto, outside, inside)
	return nil
}

// found answers searches for a connection device, which SSDP has anybody send to
// all (UPnP Device Architecture 1.0, 1.2.2).
func (g gateway) found(conn *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFromUDP(buf)
		if err != nil {
			return
		}
		target := "urn:schemas-upnp-org:device:WANConnectionDevice:1"
		if ask := string(buf[:n]); !strings.HasPrefix(ask, "M-SEARCH ") || !strings.Contains(ask, target) {
			continue
		}
		_, _ = fmt.Fprintf(to{conn, from}, "HTTP/1.1 200 OK\r\nST: %s\r\nUSN: uuid:3::%s\r\nLOCATION: http://%s:5000/root.xml\r\n"+
			"CACHE-CONTROL: max-age=120\r\nEXT:\r\nSERVER: test\r\n\r\n", target, target, g.Inside) // it is asked again
	}
}

// to writes datagrams to one address.
type to struct {
	*net.UDPConn
	addr *net.UDPAddr
}

func (t to) Write(p []byte) (int, error) { return t.WriteToUDP(p, t.addr) }

// control describes the device, and does what it is told by SOAP.
func (g gateway) control(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/root.xml" {
		_, _ = io.WriteString(w, described)
		return
	}
	var call struct {
		Add struct {
			Port     uint16 `xml:"NewExternalPort"`
			Protocol string `xml:"NewProtocol"`
			Inside   string `xml:"NewInternalClient"`
			To       uint16 `xml:"NewInternalPort"`
		} `xml:"Body>AddPortMapping"`
	}
	if err := xml.NewDecoder(r.Body).Decode(&call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, action, _ := strings.Cut(strings.Trim(r.Header.Get("SOAPACTION"), `"`), "#")
	answer := ""
	switch action {
	case "GetNATRSIPStatus":
		answer = "<NewRSIPAvailable>0</NewRSIPAvailable><NewNATEnabled>1</NewNATEnabled>"
	case "GetExternalIPAddress":
		answer = "<NewExternalIPAddress>" + g.Outside + "</NewExternalIPAddress>"
	case "AddPortMapping":
		ip, err := netip.ParseAddr(call.Add.Inside)
		if err == nil {
			err = g.forward(strings.ToLower(call.Add.Protocol), call.Add.Port, netip.AddrPortFrom(ip, call.Add.To))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	case "DeletePortMapping": // the namespace goes with the test
	default:
		http.Error(w, action, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" `+
		`s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:%[1]sResponse xmlns:u="%[2]s">%[3]s</u:%[1]sResponse></s:Body></s:Envelope>`,
		action, connection, answer)
}
