/* fsmix: calls of a fileserver a second, from a number of callers that each wait for their answer.
 *
 *   fsmix ADDRESS PORT CALLERS SECONDS VOLUME     prints: answers, refusals, packets sent again
 *
 * Each caller makes a file of its own in the volume's root directory, stores 1 KiB, asks for its status four times,
 * fetches it twice, removes it, and begins again: nine calls, three of which write. All callers are processes of one
 * client, four to a connection; the next call on a channel acknowledges the answer to the one before. The others begin
 * when the first has its first answer: stock answers VBUSY when many calls wait for it to get to know their client. What
 * a fileserver asks a new client is answered as fsload does.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DATA = 1, ACK = 2, ABORT = 4, CLIENT_INITIATED = 1, REQUEST_ACK = 2, LAST_PACKET = 4, HEADER = 28, RXAFS = 1 };
enum { FETCH_STATUS = 132, REMOVE_FILE = 136, CREATE_FILE = 137, FETCH_DATA64 = 65537, STORE_DATA64 = 65538 };
enum { WHO_ARE_YOU = 212, TELL_ME = 65538, RXGEN_OPCODE = -455 };
enum { MOST_CALLERS = 1024, RESEND_MS = 1000, SIZE = 1024, STORE_WORDS = 6, PING_RESPONSE = 7 };
enum { ACK_SIZE = HEADER + 18 + 3 + 16 };

static const uint32_t turns[] = {CREATE_FILE,  STORE_DATA64, FETCH_STATUS, FETCH_STATUS, FETCH_DATA64,
                                 FETCH_STATUS, FETCH_STATUS, FETCH_DATA64, REMOVE_FILE};
enum { TURNS = sizeof turns / sizeof *turns };

struct caller {
    uint32_t call, serial, turn, file, fid[3];
    int64_t sent_ms;
};

static struct caller callers[MOST_CALLERS];
static uint32_t epoch, first_cid, volume, serial;
static int sock;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void put(unsigned char *packet, size_t word, uint32_t value)
{
    value = htonl(value);
    memcpy(packet + 4 * word, &value, 4);
}

static uint32_t get(const unsigned char *packet, size_t word)
{
    uint32_t value;
    memcpy(&value, packet + 4 * word, 4);
    return ntohl(value);
}

/* A name from word `at` on; returns the word behind it. */
static size_t put_name(unsigned char *packet, size_t at, uint32_t index, uint32_t file)
{
    char name[48] = {0};
    int size = snprintf(name, sizeof name, "%x.%x.%u.%u", epoch, first_cid >> 12, index, file);
    put(packet, at, size);
    memcpy(packet + 4 * (at + 1), name, (size + 3) / 4 * 4);
    return at + 1 + (size + 3) / 4;
}

static void transmit(uint32_t index, int64_t now)
{
    struct caller *caller = &callers[index];
    unsigned char request[HEADER + 4 * 32 + SIZE] = {0};
    uint32_t opcode = turns[caller->turn];
    put(request, 0, epoch);
    put(request, 1, first_cid + index); /* connection in the upper bits, channel in the lower two */
    put(request, 2, caller->call);
    put(request, 3, 1); /* the only packet of each call */
    put(request, 4, ++caller->serial);
    request[20] = DATA;
    request[21] = CLIENT_INITIATED | LAST_PACKET;
    request[27] = RXAFS;
    put(request, 7, opcode);
    int in_directory = opcode == CREATE_FILE || opcode == REMOVE_FILE;
    for (int i = 0; i < 3; i++)
        put(request, 8 + i, in_directory ? (i ? 1 : volume) : caller->fid[i]);
    size_t at = 11;
    if (in_directory)
        at = put_name(request, at, index, caller->file);
    if (opcode == CREATE_FILE || opcode == STORE_DATA64)
        at += STORE_WORDS;
    if (opcode == FETCH_DATA64) {
        put(request, at + 3, SIZE); /* position, then length, of two words each */
        at += 4;
    }
    if (opcode == STORE_DATA64) {
        put(request, at + 3, SIZE);
        put(request, at + 5, SIZE); /* the file's new length */
        at += 6;
        memset(request + 4 * at, 'x', SIZE);
        at += SIZE / 4;
    }
    caller->sent_ms = now;
    if (send(sock, request, 4 * at, 0) < 0)
        perror("fsmix: send");
}

/* A call of the server's: an empty reply, or that there is no such procedure. */
static void answer(const unsigned char *packet, ssize_t size)
{
    if (packet[20] != DATA || size < HEADER + 4)
        return;
    unsigned char reply[HEADER + 4] = {0};
    uint32_t opcode = get(packet, 7);
    int unknown = opcode == TELL_ME || opcode == WHO_ARE_YOU;
    memcpy(reply, packet, 12);
    put(reply, 3, unknown ? 0 : 1);
    put(reply, 4, ++serial);
    reply[20] = unknown ? ABORT : DATA;
    reply[21] = unknown ? 0 : LAST_PACKET;
    memcpy(reply + 26, packet + 26, 2);
    put(reply, 7, (uint32_t)RXGEN_OPCODE);
    send(sock, reply, unknown ? HEADER + 4 : HEADER, 0);
}

/* The server asks whether its packets reach us. */
static void pong(const unsigned char *packet)
{
    unsigned char reply[ACK_SIZE] = {0};
    memcpy(reply, packet, 12);
    put(reply, 4, ++serial);
    reply[20] = ACK, reply[21] = CLIENT_INITIATED, reply[27] = RXAFS;
    put(reply + HEADER, 1, 1);
    put(reply + HEADER, 3, get(packet, 4));
    reply[HEADER + 16] = PING_RESPONSE;
    unsigned char *trailer = reply + HEADER + 18 + 3;
    put(trailer, 0, 1444), put(trailer, 1, 1444), put(trailer, 2, 32), put(trailer, 3, 1);
    send(sock, reply, sizeof reply, 0);
}

/* The answer to a caller's call: what it does next. */
static void take(struct caller *caller, const unsigned char *packet)
{
    int refused = packet[20] == ABORT;
    if (!refused && turns[caller->turn] == CREATE_FILE)
        for (int i = 0; i < 3; i++)
            caller->fid[i] = get(packet, 7 + i);
    caller->call++;
    caller->turn = refused ? 0 : (caller->turn + 1) % TURNS;
    if (!caller->turn)
        caller->file++;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return fprintf(stderr, "usage: fsmix ADDRESS PORT CALLERS SECONDS VOLUME\n"), 2;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    uint32_t count = atoi(argv[3]);
    volume = strtoul(argv[5], NULL, 10);
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 || !count || count > MOST_CALLERS)
        return fprintf(stderr, "fsmix: an address, 1 to %d callers\n", MOST_CALLERS), 2;
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    if (sock < 0 || connect(sock, (struct sockaddr *)&server, sizeof server) < 0)
        return perror("fsmix"), 1;

    epoch = 0x80000000u | (uint32_t)time(NULL);
    first_cid = ((uint32_t)getpid() << 12) & 0x7ffff000u;
    uint64_t answers = 0, refusals = 0, again = 0;
    int64_t now = now_ms(), end = now + (int64_t)(atof(argv[4]) * 1000), looked = now;
    uint32_t begun = 1;
    callers[0].call = 1;
    transmit(0, now);
    while (now < end) {
        struct pollfd ready = {.fd = sock, .events = POLLIN};
        poll(&ready, 1, 50);
        now = now_ms();
        unsigned char packet[2048];
        ssize_t size;
        while ((size = recv(sock, packet, sizeof packet, MSG_DONTWAIT)) >= HEADER) {
            uint32_t index = get(packet, 1) - first_cid;
            if (packet[21] & CLIENT_INITIATED)
                answer(packet, size);
            else if (packet[20] == ACK && packet[21] & REQUEST_ACK)
                pong(packet);
            else if (get(packet, 0) == epoch && index < begun && get(packet, 2) == callers[index].call &&
                     (packet[20] == ABORT || (packet[20] == DATA && packet[21] & LAST_PACKET))) {
                if (packet[20] == ABORT && !refusals++)
                    fprintf(stderr, "fsmix: opcode %u: abort %d\n", turns[callers[index].turn], (int)get(packet, 7));
                answers += packet[20] == DATA;
                take(&callers[index], packet);
                transmit(index, now);
                for (; begun < count; begun++) {
                    callers[begun].call = 1;
                    transmit(begun, now);
                }
            }
        }
        if (now - looked >= RESEND_MS / 5) {
            looked = now;
            for (uint32_t i = 0; i < begun; i++)
                if (now - callers[i].sent_ms >= RESEND_MS) {
                    again++;
                    transmit(i, now);
                }
        }
    }
    printf("%llu %llu %llu\n", (unsigned long long)answers, (unsigned long long)refusals, (unsigned long long)again);
    return 0;
}
