/* vlload: VL_GetEntryByNameU a second, from a number of callers that each wait for their answer.
 *
 *   vlload ADDRESS PORT CALLERS SECONDS NAME     prints: answers, refusals, packets sent again
 *
 * Speaks just enough Rx over a plain UDP socket to be cheap beside the server: four callers share a connection, as the
 * calls of one client do; the next call on a channel acknowledges the answer to the one before.
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

enum { DATA = 1, ABORT = 4, CLIENT_INITIATED = 1, LAST_PACKET = 4, HEADER = 28, SERVICE_VL = 52 };
enum { GETENTRYBYNAMEU = 527, MOST_CALLERS = 1024, RESEND_MS = 500 };

struct caller {
    uint32_t call, serial;
    int64_t sent_ms;
};

static struct caller callers[MOST_CALLERS];
static unsigned char request[HEADER + 4 + 4 + 68];
static size_t request_size;
static uint32_t epoch, first_cid;
static int sock;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void put(size_t word, uint32_t value)
{
    value = htonl(value);
    memcpy(request + 4 * word, &value, 4);
}

static uint32_t get(const unsigned char *packet, size_t word)
{
    uint32_t value;
    memcpy(&value, packet + 4 * word, 4);
    return ntohl(value);
}

static void transmit(uint32_t index, int64_t now)
{
    struct caller *caller = &callers[index];
    put(1, first_cid + index); /* connection in the upper bits, channel in the lower two */
    put(2, caller->call);
    put(4, ++caller->serial);
    caller->sent_ms = now;
    if (send(sock, request, request_size, 0) < 0)
        perror("vlload: send");
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return fprintf(stderr, "usage: vlload ADDRESS PORT CALLERS SECONDS NAME\n"), 2;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    uint32_t count = atoi(argv[3]);
    size_t name = strlen(argv[5]);
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 || !count || count > MOST_CALLERS || name > 64)
        return fprintf(stderr, "vlload: an address, 1 to %d callers, a name of 64 bytes at most\n", MOST_CALLERS), 2;
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    if (sock < 0 || connect(sock, (struct sockaddr *)&server, sizeof server) < 0)
        return perror("vlload"), 1;

    epoch = 0x80000000u | (uint32_t)time(NULL);
    first_cid = ((uint32_t)getpid() << 12) & 0x7ffff000u;
    put(0, epoch);
    put(3, 1); /* the only packet of each call */
    request[20] = DATA;
    request[21] = CLIENT_INITIATED | LAST_PACKET;
    request[27] = SERVICE_VL;
    put(7, GETENTRYBYNAMEU);
    put(8, name);
    memcpy(request + HEADER + 8, argv[5], name);
    request_size = HEADER + 8 + (name + 3) / 4 * 4;

    uint64_t answers = 0, refusals = 0, again = 0;
    int64_t start = now_ms(), now = start, end = start + (int64_t)(atof(argv[4]) * 1000), looked = start;
    for (uint32_t i = 0; i < count; i++) {
        callers[i].call = 1;
        transmit(i, now);
    }
    while (now < end) {
        struct pollfd ready = {.fd = sock, .events = POLLIN};
        poll(&ready, 1, 50);
        now = now_ms();
        unsigned char packet[2048];
        ssize_t size;
        while ((size = recv(sock, packet, sizeof packet, MSG_DONTWAIT)) >= 0) {
            uint32_t index = size >= HEADER ? get(packet, 1) - first_cid : count;
            if (index >= count || get(packet, 0) != epoch || get(packet, 2) != callers[index].call)
                continue;
            if (packet[20] != ABORT && !(packet[20] == DATA && packet[21] & LAST_PACKET))
                continue;
            if (packet[20] == ABORT)
                refusals++;
            else
                answers++;
            callers[index].call++;
            transmit(index, now);
        }
        if (now - looked >= RESEND_MS / 5) {
            looked = now;
            for (uint32_t i = 0; i < count; i++)
                if (now - callers[i].sent_ms >= RESEND_MS) {
                    again++;
                    transmit(i, now);
                }
        }
    }
    printf("%llu %llu %llu\n", (unsigned long long)answers, (unsigned long long)refusals, (unsigned long long)again);
    return 0;
}
