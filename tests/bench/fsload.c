/* fsload: FetchStatus as a FUSE client makes it, one call after the other, each answer acknowledged at once.
 *
 *   fsload ADDRESS PORT SECONDS VOLUME VNODE UNIQUE [PAUSE_US]     prints: answers, median us, least us
 *
 * Speaks just enough Rx to be cheap beside the server, and answers what a fileserver asks a new client: it has no UUID
 * (RXGEN_OPCODE) and takes every reset. PAUSE_US lies between an acknowledgement and the next call: a cache manager
 * has some 65 us of work there.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DATA = 1, ACK = 2, ABORT = 4, CLIENT_INITIATED = 1, REQUEST_ACK = 2, LAST_PACKET = 4, HEADER = 28, RXAFS = 1 };
enum { FETCH_STATUS = 132, WHO_ARE_YOU = 212, TELL_ME = 65538, RXGEN_OPCODE = -455 };
enum { MOST_SAMPLES = 1 << 20, PING_RESPONSE = 7, DELAY = 8, ACK_SIZE = HEADER + 18 + 3 + 16 };

static float samples[MOST_SAMPLES];
static uint32_t serial;
static int sock;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
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
static void pong(const unsigned char *packet, const unsigned char *ack)
{
    unsigned char reply[ACK_SIZE];
    memcpy(reply, ack, sizeof reply);
    put(reply, 2, get(packet, 2));
    put(reply, 4, ++serial);
    put(reply + HEADER, 1, 1);
    put(reply + HEADER, 2, 0);
    put(reply + HEADER, 3, get(packet, 4));
    reply[HEADER + 16] = PING_RESPONSE;
    send(sock, reply, sizeof reply, 0);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc < 7)
        return fprintf(stderr, "usage: fsload ADDRESS PORT SECONDS VOLUME VNODE UNIQUE [PAUSE_US]\n"), 2;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    double pause = argc > 7 ? atof(argv[7]) / 1e6 : 0;
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    struct timeval patience = {.tv_sec = 1};
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (sock < 0 || connect(sock, (struct sockaddr *)&server, sizeof server) < 0)
        return perror("fsload"), 1;

    unsigned char request[HEADER + 16] = {0}, ack[ACK_SIZE] = {0};
    uint32_t epoch = 0x80000000u | (uint32_t)time(NULL), cid = ((uint32_t)getpid() << 12) & 0x7ffff000u;
    put(request, 0, epoch), put(request, 1, cid), put(request, 3, 1);
    request[20] = DATA, request[21] = CLIENT_INITIATED | LAST_PACKET, request[27] = RXAFS;
    put(request, 7, FETCH_STATUS);
    for (int i = 0; i < 3; i++)
        put(request, 8 + i, strtoul(argv[4 + i], NULL, 10));
    put(ack, 0, epoch), put(ack, 1, cid);
    ack[20] = ACK, ack[21] = CLIENT_INITIATED, ack[27] = RXAFS;
    put(ack + HEADER, 1, 2); /* the next packet expected: the one of the reply was read */
    put(ack + HEADER, 2, 1);
    ack[HEADER + 16] = DELAY;
    unsigned char *trailer = ack + HEADER + 18 + 3;
    put(trailer, 0, 1444), put(trailer, 1, 1444), put(trailer, 2, 32), put(trailer, 3, 1);

    uint32_t call = 0, answers = 0;
    double end = now() + atof(argv[3]);
    while (now() < end) {
        put(request, 2, ++call);
        put(request, 4, ++serial);
        double sent = now();
        send(sock, request, sizeof request, 0);
        unsigned char packet[2048];
        for (;;) {
            ssize_t size = recv(sock, packet, sizeof packet, 0);
            if (size < 0)
                return fprintf(stderr, "fsload: no answer to call %u\n", call), 1;
            if (size < HEADER)
                continue;
            if (packet[21] & CLIENT_INITIATED)
                answer(packet, size);
            else if (packet[20] == ACK && packet[21] & REQUEST_ACK)
                pong(packet, ack);
            else if (get(packet, 0) == epoch && get(packet, 2) == call && packet[20] == ABORT)
                return fprintf(stderr, "fsload: abort %d\n", (int)get(packet, 7)), 1;
            else if (get(packet, 0) == epoch && get(packet, 2) == call && packet[20] == DATA)
                break;
        }
        if (answers < MOST_SAMPLES)
            samples[answers++] = (now() - sent) * 1e6;
        put(ack, 2, call);
        put(ack, 4, ++serial);
        put(ack + HEADER, 3, get(packet, 4));
        send(sock, ack, sizeof ack, 0);
        for (double until = now() + pause; pause > 0 && now() < until;)
            ;
    }
    qsort(samples, answers, sizeof *samples, ascending);
    printf("%u %.1f %.1f\n", answers, samples[answers / 2], samples[0]);
    return 0;
}
